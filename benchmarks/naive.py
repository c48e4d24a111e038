"""A naive implementation of incoming-cdrs: parent table, `Schema.dump`, and decoding the token for every request."""

import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiopg
from aiohttp import web
from jose import jwt
from psycopg2.extensions import new_type, register_type

from service.schemas.base import PREFIX
from service.schemas.incoming_cdrs import IncomingCdrSchema
from service.schemas.resource import configured

LISTS = f"{PREFIX}/incoming-cdrs"
SHOWN = ("id", *configured(UTC, {})["incoming-cdrs"].attributes)
SELECT = f"SELECT {', '.join(SHOWN)} FROM (SELECT *, false AS rec FROM cdr.cdr) AS r WHERE vendor_id = %(customer_id)s"
CUSTOMER = "SELECT 1 FROM public.contractors WHERE id = %(customer_id)s"
ONE = f"{SELECT} AND id = %(id)s"
COUNT = "SELECT count(*) FROM cdr.cdr WHERE vendor_id = %(customer_id)s AND time_start >= %(since)s"
ORDER = " ORDER BY time_start DESC, id DESC LIMIT %(size)s"
FILTER = re.compile(rf"filter\[({'|'.join(SHOWN)})_(eq|start|cont)\]")
CONDITIONS = {"eq": "{0} = %({0})s", "start": "{0} ILIKE %({0})s || '%%'", "cont": "{0} ILIKE '%%' || %({0})s || '%%'"}
TEXT = new_type((1700, 1184), "TEXT", lambda value, _: value)  # The schema's fields expect numerics and times as text.
POOL = web.AppKey("pool", aiopg.Pool)


async def show(request: web.Request) -> web.Response:
    async with request.app[POOL].acquire() as connection, connection.cursor() as cursor:
        scope = await _scope(request, cursor)
        records = await _records(cursor, ONE, {**scope, "id": request.match_info["id"]})
    if not records:
        raise web.HTTPNotFound
    return _document(_schema(request).dump(records[0]))


async def index(request: web.Request) -> web.Response:
    async with request.app[POOL].acquire() as connection, connection.cursor() as cursor:
        scope = await _scope(request, cursor)
        since = request.query.get("filter[time_start_gteq]", datetime.now(UTC) - timedelta(days=1))
        scope |= {"since": since, "size": int(request.query.get("page[size]", 50))}
        conditions, values = _filters(request)
        page = f"{SELECT} AND time_start >= %(since)s{conditions}{ORDER}"
        records = await _records(cursor, page, scope | values)
        [[total]] = (await _rows(cursor, COUNT + conditions, scope | values))[0]
    return _document({**_schema(request).dump(records, many=True), "meta": {"total-count": total}})


def _filters(request: web.Request) -> tuple[str, dict[str, str]]:
    """The conditions and parameters of the filters that it supports."""
    found = [(match, value) for name, value in request.query.items() if (match := FILTER.fullmatch(name))]
    conditions = [f" AND {CONDITIONS[match[2]].format(match[1])}" for match, _ in found]
    return "".join(conditions), {match[1]: value for match, value in found}


async def _scope(request: web.Request, cursor: Any) -> dict[str, Any]:
    """The query parameters of the token's customer, if it exists."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    claims = jwt.decode(token, os.environ["BENCH_SECRET"], algorithms=["HS256"], audience="customer-v1")
    scope = {"customer_id": claims["cfg"]["customer_id"]}
    if not (await _rows(cursor, CUSTOMER, scope))[0]:
        raise web.HTTPUnauthorized
    return scope


async def _rows(cursor: Any, statement: str, parameters: dict[str, Any]) -> tuple[list[Any], list[str]]:
    await cursor.execute(statement, parameters)
    return await cursor.fetchall(), [column.name for column in cursor.description]


async def _records(cursor: Any, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    rows, names = await _rows(cursor, statement, parameters)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _schema(request: web.Request) -> IncomingCdrSchema:
    return IncomingCdrSchema(base=f"http://{request.host}")


def _document(found: dict[str, Any]) -> web.Response:
    return web.Response(text=json.dumps(found), content_type="application/vnd.api+json")


async def _pool(app: web.Application) -> AsyncIterator[None]:
    async with aiopg.create_pool(
        os.environ["BENCH_DSN"], maxsize=10, enable_hstore=False, on_connect=_settle, options="-c timezone=UTC"
    ) as app[POOL]:
        yield


async def _settle(connection: Any) -> None:
    register_type(TEXT, connection.raw)


def main() -> None:
    app = web.Application()
    app.router.add_get(LISTS, index)
    app.router.add_get(LISTS + "/{id}", show)
    app.cleanup_ctx.append(_pool)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None)


if __name__ == "__main__":
    main()
