"""The command line of `cdr-api`. Exit codes: 0 success, 1 failure, 2 invalid arguments or settings."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

from service import settings, telemetry
from service.auth.tokens import DynamicClaims, Subject, TokenService
from service.commands import export, healthcheck, indexes
from service.db import dsn as dsns
from service.db import schema
from service.demo import demo
from service.files import SQL
from service.observability import logs
from service.process import server
from service.recordings import stores
from service.schemas import resource
from service.schemas.resource import CALLS, SCHEMAS
from service.settings import Settings, SettingsError

DSNS = ("databases.cdr.dsn", "databases.routing.dsn")
SERVED = (*DSNS, "auth.secrets")


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command."""
    try:
        code = _run(_parser().parse_args(words))
        sys.stdout.flush()
    except BrokenPipeError:  # The reader closed the pipe, as in `| head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code


def _run(arguments: argparse.Namespace) -> int:
    try:
        loaded = _load(arguments.config)
        logs.configure(loaded.log.level, loaded.log.format)
        command: Callable[[Settings, argparse.Namespace], None] = arguments.command
        command(loaded, arguments)
    except SettingsError as error:
        return _complain(error.problems, 2)
    except (
        schema.SchemaError,
        server.ListenError,
        demo.Unavailable,
        export.ExportError,
        healthcheck.UnhealthyError,
    ) as error:
        return _complain([str(error)], 1)
    except KeyboardInterrupt:
        return 130
    return 0


def _load(config: str | None) -> Settings:
    loaded = settings.load(config, os.environ)
    if problems := list(resource.problems(loaded.resources.hidden)):
        raise SettingsError(problems)
    return loaded


def _serve(loaded: Settings, arguments: argparse.Namespace) -> None:
    _require_served(loaded)
    server.run(loaded, reload_settings=partial(_reload, arguments.config))


def _reload(config: str | None) -> Settings:
    """Reads the settings again, for new workers."""
    loaded = _load(config)
    _require_served(loaded)
    return loaded


def _require_served(loaded: Settings) -> None:
    _require(loaded, *SERVED)
    _require_recordings(loaded)


def _demo(loaded: Settings, arguments: argparse.Namespace) -> None:
    _require_recordings(loaded)
    demo.run(loaded, arguments.folder)


def _config(loaded: Settings, _: argparse.Namespace) -> None:
    print(json.dumps(settings.shown(loaded, dsns.masked), indent=2))


def _healthcheck(loaded: Settings, _: argparse.Namespace) -> None:
    print(healthcheck.check(loaded.listen))


def _token(loaded: Settings, arguments: argparse.Namespace) -> None:
    _require(loaded, "auth.secrets")
    print(TokenService(loaded.auth.secrets, loaded.auth.token_lifetime).issue(_subject(arguments)))


def _export(loaded: Settings, arguments: argparse.Namespace) -> None:
    _require(loaded, *DSNS)
    format_ = arguments.format or arguments.output.suffix.removeprefix(".")
    if format_ not in export.FORMATS:
        raise SettingsError([f"--format: must be one of {', '.join(export.FORMATS)}, or the suffix of --output"])
    if arguments.dialect and format_ != "csv":
        raise SettingsError(["--dialect: requires --format csv"])
    subject = _subject(arguments)
    job = export.ExportJob(arguments.type, arguments.query, subject, format_, arguments.output, arguments.dialect)
    export.run(loaded, job)


def _subject(arguments: argparse.Namespace) -> Subject:
    """The caller given by the arguments. Raises SettingsError if they contradict each other."""
    if arguments.api_access is None:
        profile = 1 if arguments.profile_id is None else arguments.profile_id
        return DynamicClaims(arguments.customer_id, profile, tuple(arguments.account_id))
    given = {"--account-id": arguments.account_id, "--profile-id": arguments.profile_id is not None}
    if problems := [
        f"{word}: requires --customer-id; the row in sys.api_access sets it for --api-access"
        for word in given
        if given[word]
    ]:
        raise SettingsError(problems)
    return int(arguments.api_access)


def _apply(loaded: Settings, _: argparse.Namespace) -> None:
    _require(loaded, *DSNS)
    for name, dsn in (("cdr", loaded.databases.cdr.dsn), ("routing", loaded.databases.routing.dsn)):
        for file in schema.apply(dsn, SQL / "schema" / name):
            print(f"{name}: {file}")


def _partitions(loaded: Settings, arguments: argparse.Namespace) -> None:
    _require(loaded, "databases.cdr.dsn")
    if arguments.last < arguments.first:
        raise SettingsError(["--to: must not be before --from"])
    if arguments.last == date.max:
        raise SettingsError([f"--to: must be before {date.max}"])
    created = 0
    for table in sorted({CALLS, loaded.databases.cdr.originated_table}):
        for batch in schema.partition_batches(loaded.databases.cdr.dsn, arguments.first, arguments.last, table):
            created += len(batch)
            print("".join(f"{name}\n" for name in batch), end="", flush=True)
    if not created:
        print("All partitions exist already.")


def _indexes(loaded: Settings, arguments: argparse.Namespace) -> None:
    _require(loaded, "databases.cdr.dsn")
    cdr = loaded.databases.cdr
    indexes.run(cdr.dsn, cdr.originated_table, arguments.create, arguments.drop)


def _require(loaded: Settings, *keys: str) -> None:
    settings.require(loaded, *keys)
    cdr, routing = loaded.databases.cdr, loaded.databases.routing
    given = [("databases.cdr.dsn", cdr.dsn), ("databases.routing.dsn", routing.dsn)]
    given = [(key, dsn) for key, dsn in given if key in keys] + [
        ("databases.cdr.replicas", dsn) for dsn in cdr.replicas
    ]
    problems = list(telemetry.problems(loaded.telemetry))
    problems += [f"{key}: {problem}" for key, dsn in given if (problem := dsns.problem_with(dsn))]
    if problems:
        raise SettingsError(problems)


def _require_recordings(loaded: Settings) -> None:
    if problems := list(stores.problems(loaded.recordings)):
        raise SettingsError(problems)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cdr-api", description='The CDR part of the "customer v1" JSON:API.')
    parser.add_argument("--version", action="version", version=f"cdr-api {version('cdr-api')}")
    _add_config(parser, default=None)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(to: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str) -> argparse.ArgumentParser:
        added = to.add_parser(name, help=text, description=text)
        _add_config(added, default=argparse.SUPPRESS)  # Keeps a --config given before the command.
        return added

    add(commands, "serve", "Serve the API.").set_defaults(command=_serve)

    trial = add(commands, "demo", "Serve demo data from an embedded PostgreSQL.")
    trial.add_argument("--folder", default=".demo", help="data directory (default: %(default)s)")
    trial.set_defaults(command=_demo)

    add(commands, "config", "Print the effective settings with masked secrets.").set_defaults(command=_config)

    health = add(commands, "healthcheck", "Check that the service responds on the configured address.")
    health.set_defaults(command=_healthcheck)

    token = add(commands, "token", "Print a token.")
    _add_subject(token)
    token.set_defaults(command=_token)

    table = add(commands, "export", "Export a list, as the caller sees it, to a CSV, NDJSON or Parquet file.")
    table.add_argument("type", choices=[declared.Meta.type_ for declared in SCHEMAS], help="resource to export")
    _add_subject(table)
    table.add_argument("--query", default="", help="filter, sort, fields and include parameters, as in a URL")
    table.add_argument("--format", choices=export.FORMATS, help="output format (default: the suffix of --output)")
    table.add_argument("--dialect", choices=export.DIALECTS, help="CSV for spreadsheets with decimal commas")
    table.add_argument("--output", type=Path, required=True, metavar="FILE", help="output file; - is standard output")
    table.set_defaults(command=_export)

    database = add(commands, "database", "Prepare your own databases.").add_subparsers(metavar="ACTION", required=True)
    add(database, "apply", "Create missing tables.").set_defaults(command=_apply)
    partitions = add(database, "partitions", "Create missing daily partitions of the tables of calls.")
    partitions.add_argument("--from", dest="first", type=_day, metavar="DATE", required=True)
    partitions.add_argument("--to", dest="last", type=_day, metavar="DATE", required=True)
    partitions.set_defaults(command=_partitions)
    searching = add(database, "indexes", "Show, create or drop the optional search indexes.")
    change = searching.add_mutually_exclusive_group()
    for option, text in (("--create", "create indexes without blocking writes"), ("--drop", "drop indexes")):
        change.add_argument(
            option, nargs="+", choices=indexes.NAMES, metavar="NAME", default=[], help=f"{text}; `all` for all"
        )
    searching.set_defaults(command=_indexes)
    return parser


def _add_config(parser: argparse.ArgumentParser, default: str | None) -> None:
    text = "TOML settings file that overrides the defaults"
    parser.add_argument("--config", metavar="FILE", default=default, help=text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; write one as 2026-03-01") from error


def _add_subject(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--api-access", type=int, metavar="ID", help="id of the row in sys.api_access")
    whose.add_argument("--customer-id", type=int, metavar="N", help="customer of a dynamic token")
    parser.add_argument("--profile-id", type=int, metavar="N", help="portal profile of a dynamic token (default: 1)")
    parser.add_argument(
        "--account-id",
        type=int,
        metavar="N",
        action="append",
        default=[],
        help="restrict a dynamic token to this account; may be repeated",
    )


def _complain(problems: Sequence[str], code: int) -> int:
    for problem in problems:
        print(f"cdr-api: {problem}", file=sys.stderr)
    return code
