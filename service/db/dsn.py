"""Validates and masks DSNs. No message contains a password."""

import re

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

MASK = "********"
SECRETS = ("password", "sslpassword", "oauth_client_secret")  # Secret connection options of libpq.
URL = re.compile(r"(?P<scheme>postgres(?:ql)?://)(?:(?P<user>[^:@/]*):[^@]*@)?(?P<rest>.*)", re.DOTALL)
SECRET_PARAMETER = re.compile(rf"([?&](?:{'|'.join(SECRETS)})=)[^&]*")
FORMS = (
    "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of the password percent-encoded"
    " (%40 for @, %2F for /, %25 for %), or host=HOST dbname=DATABASE user=USER password='PASSWORD'"
)


def problem_with(dsn: str) -> str | None:
    """Why a text is not a valid DSN, in one line without any of its values; None if it is valid."""
    try:
        parse_dsn(dsn)
    except (psycopg2.ProgrammingError, ValueError) as error:
        return f"is not a PostgreSQL DSN ({_reason(error)}): {FORMS}"
    if _is_misread(dsn):
        return f"has a port that is not a number, or an @ or / that is not percent-encoded: {FORMS}"
    return None


def masked(dsn: str) -> str:
    """The DSN with asterisks for its secrets; only asterisks if the DSN is invalid."""
    if not dsn or problem_with(dsn):
        return MASK if dsn else dsn
    values = parse_dsn(dsn)
    hidden = {**values, **{name: MASK for name in SECRETS if name in values}}
    text = _masked_url(dsn)
    return text if text and parse_dsn(text) == hidden else str(make_dsn(**hidden))


def _masked_url(dsn: str) -> str | None:
    """The URL with asterisks for its secrets; None if the DSN is not a URL."""
    if not (url := URL.fullmatch(dsn)):
        return None
    user = "" if url["user"] is None else f"{url['user']}:{MASK}@"
    return url["scheme"] + user + SECRET_PARAMETER.sub(rf"\1{MASK}", url["rest"])


def _is_misread(dsn: str) -> bool:
    """True if libpq would parse part of a password as host, port or database, and show it in errors."""
    values = parse_dsn(dsn)
    host, port = values.get("host", ""), values.get("port", "")
    before, at, _ = dsn.partition("://")[2].partition("?")[0].partition("@")
    return (
        ("@" in host[1:] and not host.startswith("/"))
        or not re.fullmatch(r"[\d,]*", port)
        or bool(URL.fullmatch(dsn) and at and "/" in before)
    )


def _reason(error: Exception) -> str:
    """libpq's message up to the first quoted value."""
    said = " ".join(str(error).replace('"="', "=").split()).partition('"')[0]
    return said.removeprefix("invalid dsn: ").removesuffix("after ").rstrip(" :")
