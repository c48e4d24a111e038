"""The command `cdr-api healthcheck`: asks the address that customers are served on whether anything answers."""

import http.client

from service.settings import Listen, SettingsError

TIMEOUT = 4.0  # Seconds.
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on.


class UnhealthyError(Exception):
    """Nothing answers HTTP on the address; its text says why."""


def check(listen: Listen) -> str:
    """Send one request and return a line that says what answered. Raises UnhealthyError and SettingsError.

    Any HTTP status counts: `/` is not routed, so it needs neither a token nor a database, and a database that is down
    is no reason to replace a process.
    """
    if not listen.port:
        raise SettingsError(["listen.port: must not be 0 for a health check, because the port is not known"])
    host = ANY_ADDRESS.get(listen.host, listen.host)
    where = f"[{host}]:{listen.port}" if ":" in host else f"{host}:{listen.port}"
    connection = http.client.HTTPConnection(host, listen.port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise UnhealthyError(f"{where} does not answer: {reason}") from error
    finally:
        connection.close()
    return f"{where} answers: {status}"
