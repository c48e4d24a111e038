"""Settings: defaults, overridden by a TOML file, overridden by the environment. All problems are reported together."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import marshmallow
from marshmallow import fields as types
from marshmallow import validate
from marshmallow.exceptions import ValidationError

from service.files import DEFAULT_SETTINGS

PREFIX = "CDR_API_"
CONFIG = "CDR_API_CONFIG"
# Variables that Kubernetes sets for a Service named cdr-api or cdr-api-<name>; PORT only with a URL as its value.
SERVICE_LINK = re.compile(
    r"CDR_API(_[A-Z0-9]+)*_"
    r"((SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|PORT=(tcp|udp|sctp)://).*",
    re.ASCII | re.DOTALL,
)
MIN_SECRET_LENGTH = 32  # Bytes, the output size of the HMAC.
MASKED = "********"
TABLE = re.compile(
    r"cdr\.[a-z_][a-z0-9_]{0,51}\Z", re.ASCII
)  # Names of its partitions are longer, and have 63 at most.
NOT_A_TABLE = "is not cdr.<table>, with a table of at most 52 lower-case letters, digits and underscores."

T = TypeVar("T")


class SettingsError(Exception):
    """Invalid settings: one line for each problem, which names the key."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class Zone(types.String):
    """The name of an IANA time zone."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, *args, **kwargs)
        try:
            ZoneInfo(name)
        except (ValueError, KeyError, OSError) as error:
            raise ValidationError(f"{name!r} is not a known time zone.") from error
        return name


class CIDR(types.String):
    """A network of IP addresses."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            ip_network(text)
        except ValueError as error:
            raise ValidationError(f"{text!r} is not a network.") from error
        return text


class Secrets(types.List):
    """A list of secrets, or text: a JSON array of strings, or one secret. Empty text means no secrets.

    The values are bytes: unchanged from the environment, or in UTF-8 from a file.
    """

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        texts = super()._deserialize(_texts(value) if isinstance(value, str) else value, *args, **kwargs)
        try:
            return [text.encode("utf-8", "surrogateescape") for text in texts]
        except UnicodeEncodeError as error:
            raise ValidationError("A secret contains an unpaired surrogate.") from error


class Endpoint(types.String):
    """The URL of a server; empty text means none."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        url = urlsplit(text)
        if text and (url.scheme not in ("http", "https") or not url.hostname):
            raise ValidationError("is not an http or https URL.")  # Not quoted: it may contain a password.
        return text


class OptionalInteger(types.Integer):
    """An integer; empty text means None."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)  # From the environment: text, because the default is text.
        return None if value == "" else super()._deserialize(value, *args, **kwargs)


def _setting(type_: types.Field) -> Any:
    return field(metadata={"type": type_})


def _text(*choices: str) -> Any:
    return _setting(types.String(validate=validate.OneOf(choices) if choices else None))


def _integer(least: int, most: int) -> Any:
    return _setting(types.Integer(strict=True, validate=validate.Range(least, most)))


def _optional_integer(least: int, most: int) -> Any:
    limits = validate.Range(least, most)
    return _setting(
        OptionalInteger(strict=True, allow_none=True, validate=lambda value: value is None or limits(value))
    )


def _seconds(least: float = 0.001) -> Any:
    return _setting(types.Float(validate=validate.Range(least, 86400)))


def _switch() -> Any:
    return _setting(types.Boolean())


def _list(item: types.Field) -> Any:
    return _setting(types.List(item))


@dataclass(frozen=True, slots=True)
class Listen:
    host: str = _setting(types.String(validate=validate.Length(1)))
    port: int = _integer(0, 65535)
    workers: int = _integer(0, 256)
    shutdown_timeout: float = _seconds()
    keepalive_grace: float = _seconds(least=0)
    keepalive_timeout: float = _seconds()
    head_timeout: float = _seconds()
    write_timeout: float = _seconds()
    max_connections: int = _integer(1, 1000000)
    max_connections_per_address: int = _integer(1, 1000000)
    server_timing: bool = _switch()


@dataclass(frozen=True, slots=True)
class Admin:
    host: str = _setting(types.String(validate=validate.Length(1)))
    port: int | None = _setting(
        OptionalInteger(
            strict=True, allow_none=True, validate=lambda value: value is None or validate.Range(0, 65535)(value)
        )
    )


@dataclass(frozen=True, slots=True)
class Overload:
    concurrency: int = _integer(1, 10000)
    customer_concurrency: int | None = _optional_integer(1, 10000)
    queue: int = _integer(0, 100000)
    customer_queue: int = _integer(0, 100000)
    wait: float = _seconds()


@dataclass(frozen=True, slots=True)
class RateLimit:
    requests: int = _integer(0, 1000000)
    period: float = _seconds()


@dataclass(frozen=True, slots=True)
class Database:
    dsn: str = _text()
    pool_size: int = _integer(1, 1000)


@dataclass(frozen=True, slots=True)
class CallDatabase:
    dsn: str = _text()
    pool_size: int = _integer(1, 1000)
    originated_table: str = _setting(types.String(validate=validate.Regexp(TABLE, error=NOT_A_TABLE)))
    replicas: list[str] = _list(types.String())
    replica_max_lag: float = _seconds()
    directory_refresh: float = _seconds()


@dataclass(frozen=True, slots=True)
class Databases:
    connect_timeout: float = _seconds()
    acquire_timeout: float = _seconds()
    statement_timeout: float = _seconds()
    prepared_statements: int = _integer(0, 100000)
    transaction_pooling: bool = _setting(types.Boolean())
    cdr: CallDatabase = _setting(types.Nested(lambda: _schema(CallDatabase)))
    routing: Database = _setting(types.Nested(lambda: _schema(Database)))


@dataclass(frozen=True, slots=True)
class Auth:
    secrets: list[bytes] = _setting(Secrets(types.String()))
    token_lifetime: int | None = _setting(
        OptionalInteger(strict=True, allow_none=True, validate=lambda value: value is None or validate.Range(1)(value))
    )
    cache_seconds: float = _seconds(least=0)
    login: bool = _switch()
    login_threads: int = _integer(1, 64)
    failed_logins: int = _integer(1, 1000000)
    failed_logins_by_address: int = _integer(1, 1000000)
    failed_logins_period: float = _seconds()


@dataclass(frozen=True, slots=True)
class Resources:
    incoming_cdr_hide_fields: list[str] = _list(types.String())
    outgoing_cdr_hide_fields: list[str] = _list(types.String())
    time_zone: str = _setting(Zone())
    total_cache_seconds: float = _seconds(least=0)
    past_total_cache_seconds: float = _seconds(least=0)
    total_timeout: float = _seconds(least=0)

    @property
    def hidden(self) -> dict[str, list[str]]:
        """The hidden attributes, by setting."""
        return {name: getattr(self, name) for name in ("incoming_cdr_hide_fields", "outgoing_cdr_hide_fields")}


@dataclass(frozen=True, slots=True)
class Statistics:
    cache_seconds: float = _seconds(least=0)
    customer_duration: bool = _switch()
    vendor_duration: bool = _switch()


@dataclass(frozen=True, slots=True)
class S3:
    bucket: str = _text()
    endpoint: str = _setting(Endpoint())
    region: str = _setting(types.String(validate=validate.Length(1)))
    access_key_id: str = _text()
    secret_access_key: str = _text()
    force_path_style: bool = _setting(types.Boolean())
    prefix: str = _text()
    connect_timeout: float = _seconds()
    read_timeout: float = _seconds()
    pool_size: int = _integer(1, 10000)


@dataclass(frozen=True, slots=True)
class Export:
    pool_size: int = _integer(1, 1000)
    max_days: int = _integer(1, 36600)
    max_rows: int = _integer(1, 10**9)
    transaction_timeout: float = _seconds()


@dataclass(frozen=True, slots=True)
class Streams:
    concurrency: int = _integer(1, 100000)
    max_duration: float = _seconds()
    min_rate: int = _integer(0, 10**9)


@dataclass(frozen=True, slots=True)
class Recordings:
    mode: str = _text("x-accel", "s3", "directory")
    format: str = _text("mp3", "wav")
    directory: str = _text()
    s3: S3 = _setting(types.Nested(lambda: _schema(S3)))


@dataclass(frozen=True, slots=True)
class Gateway:
    trusted_proxies: list[str] = _list(CIDR())


@dataclass(frozen=True, slots=True)
class Log:
    level: str = _text("debug", "info", "warning", "error")
    format: str = _text("console", "json")
    slow_request: float = _seconds(least=0)


@dataclass(frozen=True, slots=True)
class Telemetry:
    otlp_endpoint: str = _setting(Endpoint())
    sentry_dsn: str = _setting(
        types.String(validate=validate.Regexp(r"$|https?://[^@/]+@[^@/]+/.+$", error="is not a Sentry DSN."))
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; config/default.toml documents each."""

    listen: Listen = _setting(types.Nested(lambda: _schema(Listen)))
    admin: Admin = _setting(types.Nested(lambda: _schema(Admin)))
    overload: Overload = _setting(types.Nested(lambda: _schema(Overload)))
    rate_limit: RateLimit = _setting(types.Nested(lambda: _schema(RateLimit)))
    databases: Databases = _setting(types.Nested(lambda: _schema(Databases)))
    auth: Auth = _setting(types.Nested(lambda: _schema(Auth)))
    resources: Resources = _setting(types.Nested(lambda: _schema(Resources)))
    statistics: Statistics = _setting(types.Nested(lambda: _schema(Statistics)))
    export: Export = _setting(types.Nested(lambda: _schema(Export)))
    streams: Streams = _setting(types.Nested(lambda: _schema(Streams)))
    recordings: Recordings = _setting(types.Nested(lambda: _schema(Recordings)))
    gateway: Gateway = _setting(types.Nested(lambda: _schema(Gateway)))
    log: Log = _setting(types.Nested(lambda: _schema(Log)))
    telemetry: Telemetry = _setting(types.Nested(lambda: _schema(Telemetry)))


def load(path: str | None, environment: Mapping[str, str]) -> Settings:
    """The effective settings. `path` overrides CDR_API_CONFIG. Raises SettingsError."""
    chosen = path or environment.get(CONFIG)
    values = _file(DEFAULT_SETTINGS)
    if chosen:
        values = _merged(values, _file(Path(chosen)))
    values = _merged(values, _from_environment(environment, values))
    try:
        loaded: Settings = _all_sections().load(values)
    except ValidationError as error:
        raise SettingsError(_lines(error.messages_dict)) from error
    if problems := list(_contradictions(loaded)):
        raise SettingsError(problems)
    return loaded


def _contradictions(settings: Settings) -> Iterable[str]:
    """One line for each setting that contradicts another one."""
    share, connections = settings.overload.customer_concurrency, settings.databases.cdr.pool_size
    if share is not None and connections >= 2 and share >= connections:
        yield (
            f"overload.customer_concurrency: must be below databases.cdr.pool_size = {connections}, "
            "or one customer could use all connections"
        )


def require(settings: Settings, *keys: str) -> None:
    """Checks that the settings a command needs are set and that secrets are long enough. Raises SettingsError."""
    problems = [f"{key}: is required" for key in keys if not _value(settings, key)]
    if "auth.secrets" in keys and any(len(secret) < MIN_SECRET_LENGTH for secret in settings.auth.secrets):
        problems.append(f"auth.secrets: each secret needs at least {MIN_SECRET_LENGTH} bytes")
    if problems:
        raise SettingsError(problems)


def shown(settings: Settings, masked: Callable[[str], str] = lambda _: MASKED) -> dict[str, Any]:
    """The effective settings as plain values. Secrets are masked, DSNs are converted by `masked`."""
    values = asdict(settings)
    cdr, routing, s3 = values["databases"]["cdr"], values["databases"]["routing"], values["recordings"]["s3"]
    for section in (cdr, routing):
        section["dsn"] = section["dsn"] and masked(section["dsn"])
    cdr["replicas"] = [masked(dsn) for dsn in cdr["replicas"]]
    values["auth"]["secrets"] = [MASKED for _ in values["auth"]["secrets"]]
    for section, key in ((s3, "access_key_id"), (s3, "secret_access_key"), (values["telemetry"], "sentry_dsn")):
        section[key] = section[key] and MASKED
    for section, key in ((s3, "endpoint"), (values["telemetry"], "otlp_endpoint")):
        section[key] = re.sub(r"//[^/]*@", f"//{MASKED}@", section[key])
    return values


def _value(settings: Settings, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


@cache
def _all_sections() -> marshmallow.Schema:
    return _schema(Settings)


def _schema(section: type[T]) -> marshmallow.Schema:
    """A schema that requires exactly the section's keys and returns the section."""
    declared = {setting.name: setting.metadata["type"] for setting in fields(section)}  # type: ignore[arg-type]
    for type_ in declared.values():
        type_.required = True

    class Section(marshmallow.Schema):
        @marshmallow.post_load
        def make(self, data: dict[str, Any], **_: Any) -> T:
            return section(**data)

        class Meta:
            unknown = marshmallow.RAISE

    return Section.from_dict(declared)()


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError([f"{path}: is not valid TOML: {error}"]) from error


def _from_environment(environment: Mapping[str, str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name == CONFIG or SERVICE_LINK.fullmatch(f"{name}={text}"):
            continue
        *sections, key = name.removeprefix(PREFIX).lower().split("__")
        node, default = found, defaults
        for section in sections:
            node = node.setdefault(section, {})
            default = default.get(section, {}) if isinstance(default, dict) else {}
        node[key] = _read(text, default.get(key) if isinstance(default, dict) else None)
    return found


def _read(text: str, default: Any) -> Any:
    """Text if the default is text; else JSON, or the text itself, whose type is then rejected by the schema."""
    if isinstance(default, str):
        return text
    return _json(text)


def _texts(text: str) -> list[str]:
    value = _json(text)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return [text] if text else []


def _json(text: str) -> Any:
    """The parsed JSON, or the text itself if it is not JSON or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _lines(messages: Mapping[Any, Any], path: str = "") -> Iterable[str]:
    for key, message in messages.items():
        where = path if key == "_schema" else f"{path}.{key}".lstrip(".")
        if isinstance(message, dict):
            yield from _lines(message, where)
        else:
            yield from (f"{where}: {text}" for text in message)
