"""The upper bound of aiohttp: returns the same 1,072 bytes for every request, without token and database."""

import os

from aiohttp import web

BODY = b"x" * 1072


async def handler(request: web.Request) -> web.Response:
    return web.Response(body=BODY, content_type="application/vnd.api+json")


def main() -> None:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None)


if __name__ == "__main__":
    main()
