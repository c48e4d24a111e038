"""The command `cdr-api demo`: serves demo data from an embedded PostgreSQL and prints example requests."""

import json
import os
import secrets
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.auth.tokens import TokenService
from service.db import schema
from service.demo import recordings
from service.demo.postgres import EmbeddedPostgresError as Unavailable
from service.demo.postgres import Server
from service.files import SQL
from service.process import server
from service.settings import Recordings, Settings

__all__ = ["Unavailable", "run"]

LISTENER = 21  # A demo access row that may listen to recordings.
RECORDED = 97  # A recorded call in its scope.
LOGIN, PASSWORD = "acme", "demo acme"  # Of this access row, as in sql/demo.
ACCOUNT = "00000000-0000-4000-8000-000000001011"  # An account in its scope.


def run(settings: Settings, folder: str) -> None:
    """Serves until a signal ends it. Raises Unavailable, ListenError."""
    with Server.start(Path(folder), progress=_say) as postgres:
        _say("Creating the demo tables and calls ...")
        dsn = postgres.dsn()
        for name in ("cdr", "routing"):
            schema.apply(dsn, SQL / "schema" / name)
        schema.load_demo(dsn, dsn, SQL / "demo")
        served = _with(settings, dsn, _recordings(settings, dsn, Path(folder)))
        token = TokenService(served.auth.secrets, None).issue(LISTENER)
        try:
            server.run(served, lambda url: _introduce(url, dsn, token))
        except server.AddressInUseError as error:
            raise server.ListenError(f"{error}: CDR_API_LISTEN__PORT=8090 make run") from error


def _recordings(settings: Settings, dsn: str, folder: Path) -> Recordings:
    """Settings for files with a tone, instead of X-Accel-Redirect, which would need nginx."""
    if settings.recordings.mode != "x-accel":
        return settings.recordings
    directory = folder / "recordings"
    recordings.make(directory, schema.recorded_tags(dsn))
    return replace(settings.recordings, mode="directory", directory=str(directory), format=recordings.FORMAT)


def _with(settings: Settings, dsn: str, served: Recordings) -> Settings:
    databases = settings.databases
    return replace(
        settings,
        listen=replace(settings.listen, workers=1),  # The database ends with this process.
        databases=replace(databases, cdr=replace(databases.cdr, dsn=dsn), routing=replace(databases.routing, dsn=dsn)),
        recordings=served,
        auth=replace(settings.auth, secrets=settings.auth.secrets or [secrets.token_bytes(32)]),
    )


def _introduce(url: str, dsn: str, token: str) -> None:
    api, yesterday = f"{url}/api/rest/customer/v1", datetime.now(UTC) - timedelta(days=1)
    hours, quarters = (
        f"account-id={ACCOUNT}&from-time={yesterday:%Y-%m-%dT%H:%M}Z&sampling={sampling}"
        for sampling in ("hour", "15minutes")
    )
    login = json.dumps({"auth": {"login": LOGIN, "password": PASSWORD, "cookie_auth": True}})
    _say(
        f"""
The demo listens on {url} (process {os.getpid()}). Press Ctrl-C to stop it.

This page documents the API and sends requests with the token below:

  {api}/docs

In another terminal:

  TOKEN={token}
  curl -i -H "Authorization: $TOKEN" '{api}/incoming-cdrs/{RECORDED}'
  curl -i -H "Authorization: $TOKEN" -H 'If-None-Match: *' '{api}/incoming-cdrs/{RECORDED}'
  curl -i -H "Authorization: $TOKEN" '{api}/incoming-cdrs?page[size]=2' -g
  curl -i -H "Authorization: $TOKEN" '{api}/cdrs?include=account&filter[duration_gt]=60&page[size]=2' -g
  curl -i -H "Authorization: $TOKEN" '{api}/accounts'
  curl -i -H "Authorization: $TOKEN" '{api}/origination-statistics?{hours}'
  curl -o call.wav -H "Authorization: $TOKEN" '{api}/incoming-cdrs/{RECORDED}/rec'

The same with a session cookie. The login is {LOGIN}, the password is {PASSWORD}:

  curl -i -c cookies -H 'Content-Type: application/json' -d '{login}' '{api}/auth'
  curl -i -b cookies -c cookies '{api}/origination-statistics-quality?{quarters}'
  curl -i -b cookies -c cookies -X DELETE '{api}/auth'

Export a list to a file:

  export CDR_API_DATABASES__CDR__DSN={dsn} CDR_API_DATABASES__ROUTING__DSN={dsn}
  {_program()} export incoming-cdrs --api-access {LISTENER} --output calls.csv
"""
    )


def _program() -> str:
    """The command line of this program."""
    started = Path(sys.argv[0])
    return str(started) if started.name == "cdr-api" else f"{sys.executable} -m service"


def _say(text: str) -> None:
    print(text, flush=True)
