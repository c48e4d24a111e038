"""A client in a hundred lines with only the standard library: cursor pages, and exports that are complete or fail.

CDR_URL is the URL of the service, for example http://127.0.0.1:8080, and CDR_TOKEN a token for it.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

PREFIX = "/api/rest/customer/v1"
JSON_API = "application/vnd.api+json"
TIMEOUT = 60  # Seconds.


class ApiError(Exception):
    """An error response of the service."""


class Client:
    """Sends requests with a token."""

    def __init__(self, url: str, token: str) -> None:
        self._base = url.rstrip("/") + PREFIX
        self._token = token

    @classmethod
    def from_environment(cls) -> "Client":
        """A client from CDR_URL and CDR_TOKEN. Raises ApiError if one is missing."""
        if missing := [name for name in ("CDR_URL", "CDR_TOKEN") if not os.environ.get(name)]:
            raise ApiError(
                f"Set {' and '.join(missing)}: the service's URL, and a token for it; `make run` prints both."
            )
        return cls(os.environ["CDR_URL"], os.environ["CDR_TOKEN"])

    def records(self, type_: str, parameters: Mapping[str, str], size: int = 1000) -> Iterator[dict[str, Any]]:
        """All records of a list as flat dictionaries, read page by page."""
        asked = {**parameters, "page[after]": "", "page[size]": str(size)}
        address: str | None = f"{self._base}/{type_}?{urlencode(asked)}"
        while address:
            with self._open(address, JSON_API) as response:
                document = json.load(response)
            yield from ({"id": record["id"], **record.get("attributes", {})} for record in document["data"])
            address = document["links"]["next"]

    def export(self, type_: str, parameters: Mapping[str, str], accept: str = "text/csv") -> HTTPResponse:
        """The list as a table, as a stream. Reading raises http.client.IncompleteRead if it is truncated."""
        return self._open(f"{self._base}/{type_}?{urlencode(parameters)}", accept)

    def _open(self, address: str, accept: str) -> HTTPResponse:
        """Sends a request. Raises ApiError if the service is not reachable or returns an error."""
        try:
            request = Request(address, headers={"Authorization": self._token, "Accept": accept})
            response: HTTPResponse = urlopen(request, timeout=TIMEOUT)
        except HTTPError as error:
            with error:
                raise ApiError(_refusal(error)) from error
        except (URLError, HTTPException, OSError, ValueError) as error:
            raise ApiError(f"{self._base}: {getattr(error, 'reason', error)}") from error
        return response


def _refusal(error: HTTPError) -> str:
    """The text of a JSON:API error document, or the status of any other response."""
    try:
        return "; ".join(problem["detail"] for problem in json.load(error)["errors"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url}: {error.code} {error.reason}"


def run(main: Callable[[], None]) -> None:
    """Runs a program. Errors of the service or the network are one line, with exit code 1."""
    try:
        main()
    except (ApiError, HTTPException, OSError) as error:
        sys.exit(f"{type(error).__name__ if not str(error) else error}")
    except KeyboardInterrupt:
        sys.exit(130)
