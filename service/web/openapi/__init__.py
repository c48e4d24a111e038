"""OpenAPI 3.1: the declarations of the resources to a document that describes everything that is served."""

from service.web.openapi.document import document

__all__ = ["document"]
