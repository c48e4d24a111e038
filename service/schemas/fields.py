"""The types of attributes: how filter values are parsed, how values are displayed, and the filter operators.

`_deserialize` parses the text of a filter value strictly; it raises `ValidationError`.
`display` takes a value from `service.db`: numerics and times as PostgreSQL's text, others as Python values.
"""

import re
import uuid
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal as Number
from ipaddress import ip_interface
from typing import Any, ClassVar

from marshmallow import fields
from marshmallow.exceptions import ValidationError
from marshmallow_jsonapi.fields import Relationship

COMPARISONS = ("eq", "not_eq", "gt", "gteq", "lt", "lteq", "in", "not_in")
MATCHES = ("eq", "not_eq", "cont", "start", "end", "in", "not_in", "cont_any")
EQUALITIES = ("eq", "not_eq", "in", "not_in")

ASCII_SPACE = " \t\n\v\f\r"
OUT_OF_RANGE = 10**40  # Replaces longer numbers; it is beyond the range of every integer column as well.
DIGITS_BEFORE_POINT = 131072  # The limits of PostgreSQL's numeric.
DIGITS_AFTER_POINT = 16383

# Possessive quantifiers keep matching linear: without them, backtracking tries every split of a long number.
DECIMAL = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:e[+-]?\d{1,6})?|nan|[+-]?infinity", re.ASCII | re.IGNORECASE)
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:[ T](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?P<zone>[Zz]| UTC|[+ -]\d\d(?::?[0-5]\d)?)?)?",
    re.ASCII,
)
UUID = re.compile(r"(\{)?(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?(1)\})", re.IGNORECASE)
INET = re.compile(r"[0-9a-f.:]+(?:/\d{1,3})?", re.ASCII | re.IGNORECASE)


class Attribute(fields.Field):
    """An attribute of a resource.

    `column`: its column in the resource's SQL, if the name differs. `shown=False`: only for filters, not in records.
    `queryable=False`: in records, but not for filters and sorting. `nullable=False`: always has a value.
    """

    operators: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        description: str,
        *,
        column: str | None = None,
        shown: bool = True,
        queryable: bool = True,
        nullable: bool = True,
    ) -> None:
        super().__init__(attribute=column, allow_none=nullable, metadata={"description": description})
        self.shown = shown
        self.queryable = queryable

    @property
    def column(self) -> str:
        """The attribute's column in the resource's SQL."""
        return self.attribute or str(self.name)

    def display(self, value: Any) -> Any:
        """The JSON value of a database value."""
        return value

    def _serialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return self.display(value)

    def _invalid(self, text: str) -> ValidationError:
        return ValidationError(f"{text!r} is not of type {type(self).__name__}")


class Integer(Attribute):
    """A JSON number from int2, int4 or int8. Filter values beyond the column's range are allowed."""

    operators = COMPARISONS

    def _deserialize(self, value: str, *_: Any, **__: Any) -> int:
        text = value.strip(ASCII_SPACE)
        if not INTEGER.fullmatch(text):
            raise self._invalid(value)
        sign = -1 if text[0] == "-" else 1
        digits = text.lstrip("+-0") or "0"
        return sign * (int(digits) if len(digits) <= 40 else OUT_OF_RANGE)


class Identifier(Integer):
    """The integer id of a record, a string in JSON."""

    def display(self, value: int | None) -> str | None:
        return None if value is None else str(value)


class Decimal(Attribute):
    """A numeric: a string in plain notation with at least one decimal; NaN and infinity are null."""

    operators = COMPARISONS

    def display(self, value: str | None) -> str | None:
        if value is None or value[-1] in "Ny":
            return None
        if "." not in value:
            return value + ".0"
        value = value.rstrip("0")
        return value + "0" if value[-1] == "." else value

    def _deserialize(self, value: str, *_: Any, **__: Any) -> Number:
        text = value.strip(ASCII_SPACE)
        if not DECIMAL.fullmatch(text):
            raise self._invalid(value)
        number = Number(text)
        if number.is_finite() and not _storable(number):
            raise self._invalid(value)
        return number


class Boolean(Attribute):
    """True or false."""

    operators = ("eq", "not_eq")
    words: ClassVar[dict[str, bool]] = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}

    def _deserialize(self, value: str, *_: Any, **__: Any) -> bool:
        try:
            return self.words[value.strip(ASCII_SPACE).lower()]
        except KeyError as error:
            raise self._invalid(value) from error


class String(Attribute):
    """Text. eq and in are case-sensitive, partial matches are case-insensitive."""

    operators = MATCHES

    def _deserialize(self, value: str, *_: Any, **__: Any) -> str:
        if "\0" in value:  # Not allowed in PostgreSQL's text.
            raise self._invalid(value)
        return value


class Timestamp(Attribute):
    """A timestamptz: ISO 8601 in the schema's time zone, truncated to milliseconds, with `Z` for UTC.

    Times outside of the years 1 to 9999 are null.
    """

    operators = COMPARISONS

    _zone: tzinfo = UTC

    def _bind_to_schema(self, field_name: str, parent: Any) -> None:
        super()._bind_to_schema(field_name, parent)
        self._zone = parent.time_zone

    def display(self, value: str | None) -> str | None:
        if value is None or value[4] != "-" or value[-1] == "C":  # infinity, a year of five digits, BC
            return None
        if self._zone is not UTC or value[-3:] != "+00":
            return self._localised(value)
        if len(value) == 22:  # Whole seconds.
            return f"{value[:10]}T{value[11:19]}.000Z"
        return f"{value[:10]}T{(value[11:-3] + '00')[:12]}Z"

    def _localised(self, value: str) -> str | None:
        try:
            moment = datetime.fromisoformat(value).astimezone(self._zone)
        except OverflowError:  # Outside of the years 1 to 9999 in this zone.
            return None
        text = moment.isoformat(timespec="milliseconds")[:29]  # Cuts seconds from the offset of a local mean time.
        return text.replace("+00:00", "Z") if moment.tzname() == "UTC" else text

    def _deserialize(self, value: str, *_: Any, **__: Any) -> datetime:
        """The time in UTC. Text without an offset is in the schema's time zone.

        Times outside of the years 1 to 9999 in UTC are limited to that range; .NET's minimum and maximum are such times
        in most zones.
        """
        match = TIME.fullmatch(value.strip(ASCII_SPACE))
        if not match:
            raise self._invalid(value)
        try:
            return self._moment(match)
        except ValueError as error:
            raise self._invalid(value) from error

    def _moment(self, match: re.Match[str]) -> datetime:
        parts = match.groupdict(default="0")
        fraction = parts["fraction"][:6].ljust(6, "0")
        clock = f"{parts['hour']:0>2}:{parts['minute']:0>2}:{parts['second']:0>2}.{fraction}"
        midnight_after = clock == "24:00:00.000000"
        local = datetime.fromisoformat(f"{match['day']}T{'00:00:00.000000' if midnight_after else clock}")
        local = local.replace(tzinfo=self._offset(match["zone"]))
        try:
            return (local + timedelta(days=midnight_after)).astimezone(UTC)
        except OverflowError:
            return (datetime.min if local.year == 1 else datetime.max).replace(tzinfo=UTC)

    def _offset(self, text: str | None) -> tzinfo:
        """The time zone of an offset. Raises ValueError for 24 hours or more."""
        if text is None:
            return self._zone
        if text in ("Z", "z", " UTC"):
            return UTC
        # A plus sign that was not escaped in the URL arrives as a space.
        offset = datetime.strptime(text[1:].replace(":", "").ljust(4, "0"), "%H%M")
        return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=offset.hour, minutes=offset.minute))


class Inet(Attribute):
    """An IP address, or a network with its mask, in PostgreSQL's text format."""

    operators = EQUALITIES

    def _deserialize(self, value: str, *_: Any, **__: Any) -> str:
        text = value.strip(ASCII_SPACE)
        if not INET.fullmatch(text):
            raise self._invalid(value)
        try:
            return str(ip_interface(text))
        except ValueError as error:
            raise self._invalid(value) from error


class Uuid(Attribute):
    """A UUID in canonical form; filters also accept it without dashes or in braces."""

    operators = EQUALITIES

    def _deserialize(self, value: str, *_: Any, **__: Any) -> str:
        text = value.strip(ASCII_SPACE)
        if not UUID.fullmatch(text):
            raise self._invalid(value)
        return str(uuid.UUID(text))


def _storable(number: Number) -> bool:
    """True if PostgreSQL's numeric can represent the number."""
    exponent = number.as_tuple().exponent
    return number.adjusted() < DIGITS_BEFORE_POINT and isinstance(exponent, int) and exponent >= -DIGITS_AFTER_POINT


class ToAccount(Relationship):
    """The account that a record is billed to; null if there is none or it is not in the caller's scope.

    `<name>_id` is the column with the account's internal number, and the prefix of its filters.
    """

    operators: ClassVar[tuple[str, ...]] = EQUALITIES

    def __init__(self, description: str) -> None:
        super().__init__(type_="accounts", metadata={"description": description})

    @property
    def column(self) -> str:
        """The column with the account's internal number."""
        return f"{self.name}_id"

    def get_self_url(self, obj: dict[str, Any]) -> str:
        return f"{self.parent.record_url(obj['id'])}/relationships/{self.data_key}"

    def get_related_url(self, obj: dict[str, Any]) -> str:
        return f"{self.parent.record_url(obj['id'])}/{self.data_key}"

    def _serialize_included(self, value: dict[str, Any]) -> None:
        record = self.parent.included.dump(value)["data"]
        self.root.included_data[record["type"], record["id"]] = record
