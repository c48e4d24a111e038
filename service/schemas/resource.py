"""What follows from a declaration: a resource's attributes, filters and sort keys, looked up by whole name."""

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
    """One filter by name, such as `duration_gteq`. Its field parses the values."""

    name: str
    column: str
    operator: str
    field: Attribute
    by_account_uuid: bool = False

    @property
    def takes_list(self) -> bool:
        """Whether several values may be given."""
        return self.operator in ("in", "not_in", "cont_any")

    @property
    def empty_matches_nothing(self) -> bool:
        """Whether it is `filter[id]`, the only filter that matches no record when it is empty."""
        return self.name == "id"


@dataclass(frozen=True, eq=False)
class Resource:
    """A resource as it is configured. Compared by identity: a program has one of each."""

    schema: ResourceSchema
    hidden: frozenset[str]
    registry: Mapping[str, "Resource"]  # All resources by type.
    table: str = CALLS  # Where its calls are, if it has calls.

    @property
    def type(self) -> str:
        """The type in JSON and in the path."""
        return str(self.schema.opts.type_)

    @property
    def singular(self) -> str:
        """The other spelling that sparse fieldsets accept."""
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
        """What `attributes` holds, by underscored name, in order."""
        fields = self.schema.fields.items()
        return {name: f for name, f in fields if isinstance(f, Attribute) and f.shown and name != "id"}

    @cached_property
    def account(self) -> ToAccount | None:
        """The relationship to an account, which is the only one that a resource may declare."""
        return next((f for f in self.schema.fields.values() if isinstance(f, ToAccount)), None)

    @property
    def accounts(self) -> "Resource":
        """The resource that `account` points to."""
        return self.registry[AccountSchema.Meta.type_]

    @cached_property
    def integer_ids(self) -> bool:
        """Whether ids are integers; otherwise they are UUIDs."""
        return isinstance(self.schema.fields["id"], Integer)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The underscored names of all attributes and of the relationship, in order."""
        return (*self.attributes, *([ACCOUNT] if self.account else ()))

    @cached_property
    def field_names(self) -> Mapping[str, str]:
        """What a sparse fieldset may name: the dashed spelling to the underscored."""
        return {dasherize(name): name for name in ("id", *self.members)}

    @cached_property
    def sort_keys(self) -> Mapping[str, str]:
        """The sort keys, underscored, to columns."""
        shown = {name: f.column for name, f in self.attributes.items() if f.queryable}
        return {"id": "id", **shown}

    @cached_property
    def default_sort(self) -> Sort:
        """The order of a list that asks for none."""
        name: str = self.meta.default_sort
        return Sort(self.sort_keys[name.removeprefix("-")], name.startswith("-"))

    @cached_property
    def filters(self) -> Mapping[str, FilterRule]:
        """All filters by whole underscored name. Names are never split: `src_name_in` ends like an operator."""
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
    """One line for each name, by setting, that is not an attribute or a relationship of the setting's resource."""
    for resource in configured(UTC, {}).values():
        setting = resource.meta.hidden_setting or ""
        for name in hidden.get(setting, ()):
            if name not in resource.members:
                [nearest] = get_close_matches(name.strip().lower().replace("-", "_"), resource.members, 1, cutoff=0)
                what = f"{name!r} is not an attribute of {resource.type}"
                yield f"resources.{setting}: {what}; the nearest is {nearest!r}"


def configured(
    time_zone: tzinfo, hidden: Mapping[str, Collection[str]], originated_table: str = CALLS
) -> dict[str, Resource]:
    """The resources by type. `hidden` gives underscored names by the setting that a declaration points to.

    `originated_table` has the same calls as CALLS, for those who originated them.
    """
    registry: dict[str, Resource] = {}
    for schema in SCHEMAS:
        names = frozenset(hidden.get(schema.Meta.hidden_setting or "", ()))
        table = originated_table if schema is CdrSchema else CALLS
        registry[schema.Meta.type_] = Resource(schema(time_zone=time_zone), names, registry, table)
    return registry
