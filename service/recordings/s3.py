"""Recordings as objects of an S3 bucket, which evaluates ranges and conditions (contract 13)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.recordings import file_names, ranges
from service.recordings.delivery import RequestConditions, StorageError, StoredResponse, TruncatedError
from service.settings import S3

CHUNK = 65536  # Bytes.
TYPE = "application/octet-stream"
KEPT = ("accept-ranges", "content-encoding", "content-length", "content-range", "etag", "last-modified")
EMPTY = {304: ("etag", "last-modified"), 404: (), 416: ("content-range",)}


class S3Store:
    """Reads one bucket. Each recording occupies a connection until it has been sent."""

    def __init__(self, client: Any, settings: S3, headers: Mapping[str, str]) -> None:
        self._client = client
        self._settings = settings
        self._headers = {**headers, "content-type": TYPE}

    @asynccontextmanager
    async def open(self, name: str, asked: RequestConditions) -> AsyncIterator[StoredResponse | None]:
        headers = {**self._headers, "content-disposition": file_names.attachment(name)}
        found = await self._found(name, asked, headers)
        async with _closing(found.get("Body")):
            yield _delivery(found, headers)

    async def _found(self, name: str, asked: RequestConditions, headers: Mapping[str, str]) -> dict[str, Any]:
        """The response of S3 for a recording. Raises StorageError."""
        ask = self._client.head_object if asked.head else self._client.get_object
        key = {"Bucket": self._settings.bucket, "Key": self._settings.prefix + name}
        try:
            found = await _answer(ask, key | _conditions(asked) | _range(asked))
            if _status(found) == 412:  # The recording has changed since the client's part, so it gets the whole.
                found = await _answer(ask, key | _conditions(asked))
        except (BotoCoreError, ClientError, OSError) as error:
            raise StorageError({"content-disposition": headers["content-disposition"]}) from error
        return found


@asynccontextmanager
async def opened(settings: S3, headers: Mapping[str, str]) -> AsyncIterator[S3Store]:
    """A store whose connections are closed at the end of the block. Sends no request yet."""
    config = Config(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.pool_size,
        retries={"total_max_attempts": 2, "mode": "standard"},
        s3={"addressing_style": "path" if settings.force_path_style else "auto"},
        # Checksums only if required, because servers other than Amazon's may not support them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = get_session().create_client(
        "s3",
        endpoint_url=settings.endpoint or None,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id or None,
        aws_secret_access_key=settings.secret_access_key or None,
        config=config,
    )
    async with client as open_client:
        yield S3Store(open_client, settings, headers)


def _conditions(asked: RequestConditions) -> dict[str, Any]:
    given = {
        "IfNoneMatch": ranges.etag_list(asked.if_none_match),
        "IfModifiedSince": ranges.http_date(asked.if_modified_since),
    }
    return {name: value for name, value in given.items() if value}


def _range(asked: RequestConditions) -> dict[str, Any]:
    """A single range, with If-Range as a condition on the recording."""
    if ranges.single(asked.range) is None:
        return {}
    if not asked.if_range:
        return {"Range": asked.range}
    given = {"IfMatch": ranges.strong_etag(asked.if_range), "IfUnmodifiedSince": ranges.http_date(asked.if_range)}
    condition = {name: value for name, value in given.items() if value}
    return {"Range": asked.range} | condition if condition else {}


async def _answer(ask: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The response of S3, including statuses for which botocore raises an error."""
    try:
        answer: dict[str, Any] = await ask(**parameters)
    except ClientError as error:
        missing = error.response["Error"]["Code"] in ("NoSuchKey", "404")
        if not missing and _status(error.response) not in (304, 412, 416):
            raise
        return dict(error.response)
    return answer


def _delivery(found: Mapping[str, Any], headers: Mapping[str, str]) -> StoredResponse:
    said, status = dict(found["ResponseMetadata"]["HTTPHeaders"]), _status(found)
    size = found.get("Error", {}).get("ActualObjectSize")
    if status == 416 and size:
        said["content-range"] = f"bytes */{size}"
    kept = {name: said[name] for name in EMPTY.get(status, KEPT) if name in said}
    body = found.get("Body")
    return StoredResponse(status, {**headers, **kept}, _chunks(body) if body else None)


async def _chunks(body: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in body.iter_chunks(CHUNK):
            yield chunk
    except Exception as error:  # Of botocore, aiohttp or urllib3.
        raise TruncatedError(str(error)) from error


@asynccontextmanager
async def _closing(body: Any) -> AsyncIterator[None]:
    """Closes the body; a connection with unread data cannot be reused."""
    try:
        yield
    finally:
        if body:
            await body.aclose()


def _status(answer: Mapping[str, Any]) -> int:
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])
