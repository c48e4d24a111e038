"""The command `cdr-api healthcheck`: checks that the service responds on its address."""

import http.client

from service.settings import Listen, SettingsError

TIMEOUT = 4.0  # Seconds.
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - For comparison, not for listening.


class UnhealthyError(Exception):
    """No HTTP response from the address; the message is the reason."""


def check(listen: Listen) -> str:
    """Send one request and return a line with the status. Raises UnhealthyError and SettingsError.

    Any HTTP status is healthy: `/` is not routed, so it needs neither a token nor a database. A database outage does
    not require a restart of the process.
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
