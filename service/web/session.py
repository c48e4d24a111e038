"""The session cookie: a token starts or renews a session, the text `logout` ends it."""

from wsgiref.handlers import format_date_time

from service.auth.tokens import Subject, TokenService

COOKIE = "_yeti_customer_v1_session"
EXPIRED = f"{COOKIE}=logout; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT; httponly; samesite=lax"


def cookie(tokens: TokenService, subject: Subject) -> str:
    """The Set-Cookie header with a new token; cookie and token expire together (contract 4.6)."""
    parts = [f"{COOKIE}={tokens.issue(subject)}", "path=/"]
    if tokens.lifetime is not None:
        parts.append(f"expires={format_date_time(tokens.clock() + tokens.lifetime)}")
    return "; ".join([*parts, "httponly", "samesite=lax"])
