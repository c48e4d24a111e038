"""Finds out who the caller is, by header or cookie, and renews a session that came by cookie (contract 4)."""

import time
from wsgiref.handlers import format_date_time

from aiohttp import web
from aiohttp.typedefs import Handler

from service.auth.tokens import Subject, Tokens
from service.errors import Refused
from service.web.keys import ACCESS, CALLER, RENEWAL, ROUTE, TOKENS
from service.web.routes import RECORDING

COOKIE = "_yeti_customer_v1_session"


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    words = request.headers.get("Authorization", "").split()
    subject = request.app[TOKENS].read(words[-1] if words else request.cookies.get(COOKIE, ""))
    request[CALLER] = await request.app[ACCESS].caller(subject)
    if words:
        return await handler(request)
    request[RENEWAL] = _renewal(request.app[TOKENS], subject)
    try:
        return await handler(request)
    except Refused:
        if request[ROUTE].action == RECORDING:
            del request[RENEWAL]
        raise


def _renewal(tokens: Tokens, subject: Subject) -> str:
    parts = [f"{COOKIE}={tokens.issue(subject)}", "path=/"]
    if tokens.lifetime is not None:
        parts.append(f"expires={format_date_time(time.time() + tokens.lifetime)}")
    return "; ".join([*parts, "httponly", "samesite=lax"])
