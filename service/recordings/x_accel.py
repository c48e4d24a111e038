"""Recordings that nginx sends: the answer only tells it which (contract 13)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

from service.recordings.delivery import RequestConditions, StoredResponse


class XAccel:
    """Knows no recording itself; whether there is one is for nginx to find out."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    @asynccontextmanager
    async def open(self, name: str, asked: RequestConditions) -> AsyncIterator[StoredResponse | None]:
        yield StoredResponse(200, {**self._headers, "x-accel-redirect": f"/record/{quote(name, safe='')}"})
