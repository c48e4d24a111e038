"""A client in eighty lines, of the standard library alone: pages by cursors, and exports that are whole or fail.

CDR_URL is the service, for instance http://127.0.0.1:8080, and CDR_TOKEN a token for it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

PREFIX = "/api/rest/customer/v1"
JSON_API = "application/vnd.api+json"
TIMEOUT = 60  # Seconds.


class ApiError(Exception):
    """The service's own words for why it did not answer."""


class Client:
    """Asks as whoever the token stands for."""

    def __init__(self, url: str, token: str) -> None:
        self._base = url.rstrip("/") + PREFIX
        self._token = token

    @classmethod
    def from_environment(cls) -> "Client":
        return cls(os.environ["CDR_URL"], os.environ["CDR_TOKEN"])

    def records(self, type_: str, parameters: Mapping[str, str], size: int = 1000) -> Iterator[dict[str, Any]]:
        """All records of a list as flat dictionaries, page after page."""
        asked = {**parameters, "page[after]": "", "page[size]": str(size)}
        address: str | None = f"{self._base}/{type_}?{urlencode(asked)}"
        while address:
            with self._open(address, JSON_API) as response:
                document = json.load(response)
            yield from ({"id": record["id"], **record.get("attributes", {})} for record in document["data"])
            address = document["links"]["next"]

    def export(self, type_: str, parameters: Mapping[str, str], accept: str = "text/csv") -> HTTPResponse:
        """The same as a table, to be read as it arrives; reading raises http.client.IncompleteRead if it breaks off."""
        return self._open(f"{self._base}/{type_}?{urlencode(parameters)}", accept)

    def _open(self, address: str, accept: str) -> HTTPResponse:
        request = Request(address, headers={"Authorization": self._token, "Accept": accept})
        try:
            response: HTTPResponse = urlopen(request, timeout=TIMEOUT)
        except HTTPError as error:
            with error:
                problems = json.load(error)["errors"]
            raise ApiError("; ".join(problem["detail"] for problem in problems)) from error
        return response
