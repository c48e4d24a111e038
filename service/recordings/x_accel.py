"""Recordings that nginx sends, as named by X-Accel-Redirect (contract 13)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

from service.recordings.delivery import RequestConditions, StoredResponse


class XAccelStore:
    """Returns X-Accel-Redirect for every name; nginx responds with 404 if the file does not exist."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    @asynccontextmanager
    async def open(self, name: str, asked: RequestConditions) -> AsyncIterator[StoredResponse | None]:
        yield StoredResponse(200, {**self._headers, "x-accel-redirect": f"/record/{quote(name, safe='')}"})
