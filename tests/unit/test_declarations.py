"""Rules for all resources. They name no attribute, so they apply to new ones too."""

import json
import re
from collections import Counter
from datetime import UTC
from typing import Any

import pytest

from service import settings
from service.db import select
from service.jsonapi.spelling import underscore
from service.schemas.base import dasherize
from service.schemas.fields import Attribute, String, Timestamp, ToAccount
from service.schemas.resource import Resource, configured
from tests.corpus import GOLDEN

RESOURCES = configured(UTC, {})
EACH = pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
FILTERS = {"incoming-cdrs": 225, "cdrs": 301, "accounts": 101}
ATTRIBUTES = {"incoming-cdrs": 28, "cdrs": 31, "accounts": 9}
MEMBER_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")


def declared(resource: Resource) -> dict[str, Attribute | ToAccount]:
    return dict(resource.schema.fields)


def camel(name: str) -> str:
    return re.sub(r"_([a-z\d])", lambda match: match[1].upper(), name)


@EACH
def test_there_are_as_many_filters_as_the_contract_counts(resource: Resource) -> None:
    assert len(resource.filters) == FILTERS[resource.type]


@EACH
def test_there_are_as_many_attributes_as_the_contract_lists(resource: Resource) -> None:
    assert len(resource.attributes) == ATTRIBUTES[resource.type]


@EACH
def test_no_two_filters_share_a_name(resource: Resource) -> None:
    """The table is by name, so two of one name would be one entry fewer than there are operators."""
    queryable = [f for f in declared(resource).values() if isinstance(f, ToAccount) or f.queryable]
    assert len(resource.filters) == 1 + sum(len(field.operators) for field in queryable)
    assert all(rule.name == name for name, rule in resource.filters.items())


@EACH
@pytest.mark.parametrize("spell", [str, dasherize, camel, str.upper], ids=["underscored", "dashed", "camel", "upper"])
def test_every_name_is_found_in_every_spelling(resource: Resource, spell: Any) -> None:
    names = {*resource.filters, *resource.sort_keys}
    assert {underscore(spell(name)) for name in names} == names


@EACH
def test_everything_declared_is_described_in_a_sentence(resource: Resource) -> None:
    descriptions = {name: field.metadata["description"] for name, field in declared(resource).items()}
    assert not {name: text for name, text in descriptions.items() if not re.fullmatch(r"[A-Z\d].*\.", text)}
    assert type(resource.schema).__doc__


@EACH
def test_members_stand_in_the_recorded_order(resource: Resource) -> None:
    with (GOLDEN / "golden_dev.jsonl").open(encoding="utf-8") as entries:
        recorded = (json.loads(line) for line in entries)
        plain = f"/api/rest/customer/v1/{resource.type}"
        entry = next(e for e in recorded if e.get("status") == 200 and e["path"].split("?")[0] == plain and full(e))
    assert [dasherize(name) for name in resource.attributes] == list(json.loads(entry["body"])["data"][0]["attributes"])


def full(entry: dict[str, Any]) -> bool:
    return entry["method"] == "GET" and "fields" not in entry["path"] and bool(json.loads(entry["body"])["data"])


@EACH
def test_members_have_valid_names_that_differ(resource: Resource) -> None:
    names = [dasherize(name) for name in resource.members]
    assert all(MEMBER_NAME.fullmatch(name) for name in names)
    assert not {"id", "type", "links"} & set(names)
    assert not [name for name, times in Counter(names).items() if times > 1]


@EACH
def test_a_fieldset_may_name_every_member_and_the_id_and_nothing_else(resource: Resource) -> None:
    members = {*resource.members, "id"}
    assert dict(resource.field_names) == {dasherize(name): name for name in members}


@EACH
def test_columns_are_plain_sql_identifiers(resource: Resource) -> None:
    columns = {rule.column for rule in resource.filters.values()} | set(resource.sort_keys.values())
    columns |= {field.column for field in declared(resource).values()}
    assert not {column for column in columns if not IDENTIFIER.fullmatch(column)}


@EACH
def test_an_attribute_is_shown_or_filtered_by_or_it_would_be_of_no_use(resource: Resource) -> None:
    attributes = [field for field in declared(resource).values() if isinstance(field, Attribute)]
    assert all(field.shown or field.queryable for field in attributes)


@EACH
def test_every_operator_has_its_sql(resource: Resource) -> None:
    assert {rule.operator for rule in resource.filters.values()} <= select.CONDITIONS.keys()


@EACH
def test_only_text_is_matched_by_patterns(resource: Resource) -> None:
    matching = [rule for rule in resource.filters.values() if rule.operator in select.PATTERNS]
    assert all(isinstance(rule.field, String) for rule in matching)


@EACH
def test_what_is_not_queryable_or_not_shown_is_no_sort_key(resource: Resource) -> None:
    sortable = {name for name, field in resource.attributes.items() if field.queryable}
    assert resource.sort_keys.keys() == {"id"} | sortable


@EACH
def test_options_point_to_what_exists(resource: Resource) -> None:
    meta = resource.meta
    assert resource.default_sort.column
    assert meta.database in ("cdr", "routing")
    assert meta.window is None or isinstance(resource.attributes[meta.window], Timestamp)
    assert meta.hidden_setting is None or hasattr(settings.load(None, {}).resources, meta.hidden_setting)
    assert resource.account is None or resource.account.type_ in RESOURCES
