"""Generates the OpenAPI 3.1 document from the declarations of the resources."""

from service.web.openapi.document import document

__all__ = ["document"]
