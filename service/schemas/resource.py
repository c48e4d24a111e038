"""Resources: attributes, filters and sort keys, derived from the schema."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from service.schemas.accounts import AccountSchema
from service.schemas.base import ResourceSchema, dasherize
from service.schemas.cdrs import CdrSchema
from service.schemas.fields import Attribute, Integer, ToAccount
from service.schemas.incoming_cdrs import IncomingCdrSchema

ACCOUNT = "account"  # The name of the relationship, dashed and underscored alike.
CALLS = "cdr.cdr"  # The table of all calls.
SCHEMAS: tuple[type[ResourceSchema], ...] = (IncomingCdrSchema, CdrSchema, AccountSchema)


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key: a column of the resource's SQL."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class FilterRule:
    """One filter, such as `duration_gteq`. `field` parses its values."""

    name: str
    column: str
    operator: str
    field: Attribute
    by_account_uuid: bool = False

    @property
    def takes_list(self) -> bool:
        """True if the filter accepts several values."""
        return self.operator in ("in", "not_in", "cont_any")

    @property
    def empty_matches_nothing(self) -> bool:
        """True for `filter[id]`, the only filter that matches nothing if it is empty."""
        return self.name == "id"


@dataclass(frozen=True, eq=False)
class Resource:
    """A configured resource. Compared by identity, because there is one instance of each."""

    schema: ResourceSchema
    hidden: frozenset[str]
    registry: Mapping[str, "Resource"]  # All resources by type.
    table: str = CALLS  # Where its calls are, if it has calls.

    @property
    def type(self) -> str:
        """The type in JSON and in paths."""
        return str(self.schema.opts.type_)

    @property
    def singular(self) -> str:
        """The singular type, which sparse fieldsets accept as well."""
        return self.type.removesuffix("s")

    @cached_property
    def sql(self) -> str:
        """The name of the resource's SQL file."""
        return self.type.replace("-", "_")

    @property
    def meta(self) -> Any:
        """The declaration's options: database, window, default_sort, hidden_setting."""
        return self.schema.Meta

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """The attributes by underscored name, in order."""
        fields = self.schema.fields.items()
        return {name: f for name, f in fields if isinstance(f, Attribute) and f.shown and name != "id"}

    @cached_property
    def account(self) -> ToAccount | None:
        """The relationship to an account, the only supported relationship."""
        return next((f for f in self.schema.fields.values() if isinstance(f, ToAccount)), None)

    @property
    def accounts(self) -> "Resource":
        """The resource that `account` refers to."""
        return self.registry[AccountSchema.Meta.type_]

    @cached_property
    def integer_ids(self) -> bool:
        """True if ids are integers, False if they are UUIDs."""
        return isinstance(self.schema.fields["id"], Integer)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The underscored names of the attributes and the relationship, in order."""
        return (*self.attributes, *([ACCOUNT] if self.account else ()))

    @cached_property
    def field_names(self) -> Mapping[str, str]:
        """The names that a sparse fieldset accepts: dashed to underscored."""
        return {dasherize(name): name for name in ("id", *self.members)}

    @cached_property
    def sort_keys(self) -> Mapping[str, str]:
        """Columns by underscored sort key."""
        shown = {name: f.column for name, f in self.attributes.items() if f.queryable}
        return {"id": "id", **shown}

    @cached_property
    def default_sort(self) -> Sort:
        """The default sort key of a list."""
        name: str = self.meta.default_sort
        return Sort(self.sort_keys[name.removeprefix("-")], name.startswith("-"))

    @cached_property
    def filters(self) -> Mapping[str, FilterRule]:
        """All filters by underscored name. Names are not split, because `src_name_in` ends like an operator."""
        rules = [FilterRule("id", self.meta.number, "in", Integer("Internal number."))]
        for name, attribute in self.schema.fields.items():
            if isinstance(attribute, Attribute) and attribute.queryable:
                rules += [FilterRule(f"{name}_{op}", attribute.column, op, attribute) for op in attribute.operators]
        if self.account:
            uuid, column = AccountSchema().fields["uuid"], self.account.column
            rules += [
                FilterRule(f"{column}_{op}", column, op, uuid, by_account_uuid=True) for op in self.account.operators
            ]
        return {rule.name: rule for rule in rules}


def problems(hidden: Mapping[str, Collection[str]]) -> Iterator[str]:
    """One line for each hidden name that is not an attribute or relationship of the setting's resource."""
    for resource in configured(UTC, {}).values():
        setting = resource.meta.hidden_setting or ""
        for name in hidden.get(setting, ()):
            if name not in resource.members:
                [nearest] = get_close_matches(name.strip().lower().replace("-", "_"), resource.members, 1, cutoff=0)
                what = f"{name!r} is not an attribute of {resource.type}"
                yield f"resources.{setting}: {what}; did you mean {nearest!r}?"


def configured(
    time_zone: tzinfo, hidden: Mapping[str, Collection[str]], originated_table: str = CALLS
) -> dict[str, Resource]:
    """The resources by type. `hidden` contains underscored names by `hidden_setting`.

    `originated_table` is the table of cdrs.
    """
    registry: dict[str, Resource] = {}
    for schema in SCHEMAS:
        names = frozenset(hidden.get(schema.Meta.hidden_setting or "", ()))
        table = originated_table if schema is CdrSchema else CALLS
        registry[schema.Meta.type_] = Resource(schema(time_zone=time_zone), names, registry, table)
    return registry
