"""The schema, the partitions and the demo data, applied to a real PostgreSQL."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from service.db import schema

ROOT = Path(__file__).parents[2]
SQL = ROOT / "sql"
DATASET = sorted((ROOT / "tests" / "golden" / "dataset").glob("*.csv"))
PARTS = {"cdr": "cdr", "public": "routing", "sys": "routing", "billing": "routing"}
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 12)
BROKEN = [
    "time_end < time_start OR time_end < time_connect OR time_connect < time_start",
    "time_end > now()",
    "success <> (duration > 0) OR success <> (time_connect IS NOT NULL)",
    "success <> (internal_disconnect_code = 200) OR (success AND NOT is_last_cdr)",
    "customer_price < 0 OR vendor_price < 0 OR customer_duration < 0 OR vendor_duration < 0",
    "(customer_price > 0 OR vendor_price > 0) AND NOT success",
    "success AND (customer_duration < duration OR vendor_duration < duration)",
    "customer_price IS NULL OR (vendor_price IS NULL AND vendor_id IS NOT NULL)",
    "vendor_id = customer_id",
    "vendor_id IS NULL AND (vendor_acc_id IS NOT NULL OR legb_disconnect_code IS NOT NULL OR success)",
    "audio_recorded AND (NOT success OR local_tag IS NULL)",
]
# Columns that no query of the service reads; Yeti's writer inserts whole rows of the table's type, these included.
WRITTEN = {
    "auth_orig_lat": "real",
    "auth_orig_lon": "real",
    "cdo": "smallint",
    "customer_auth_external_type": "character varying",
    "customer_currency_id": "smallint",
    "customer_currency_rate": "double precision",
    "destination_attempt_fee": "numeric",
    "dialpeer_attempt_fee": "numeric",
    "dst_network_type_id": "smallint",
    "failed_resource_id": "bigint",
    "failed_resource_type_id": "smallint",
    "internal_disconnect_code_id": "smallint",
    "lega_identity": "jsonb",
    "lega_q850_cause": "smallint",
    "lega_q850_params": "character varying",
    "lega_q850_text": "character varying",
    "lega_ss_status_id": "smallint",
    "legb_outbound_proxy": "character varying",
    "legb_q850_cause": "smallint",
    "legb_q850_params": "character varying",
    "legb_q850_text": "character varying",
    "legb_ruri": "character varying",
    "legb_ss_status_id": "smallint",
    "metadata": "jsonb",
    "p_charge_info_in": "character varying",
    "package_counter_id": "bigint",
    "src_network_type_id": "smallint",
    "vendor_currency_id": "smallint",
    "vendor_currency_rate": "double precision",
}
WRITABLE: dict[str, Any] = {
    "bigint": 2**40,
    "smallint": 7,
    "numeric": 0.25,
    "real": 50.5,
    "double precision": 1.5,
    "character varying": "text",
    "jsonb": {"key": ["value"]},
}


def rows(dsn: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def value(dsn: str, statement: str, *values: object) -> Any:
    return rows(dsn, statement, *values)[0][0]


def copy(dsn: str, file: Path) -> int:
    with (
        closing(psycopg2.connect(dsn)) as connection,
        connection,
        connection.cursor() as cursor,
        file.open("rb") as data,
    ):
        columns = data.readline().decode().strip()
        data.seek(0)
        cursor.copy_expert(f"COPY {file.stem} ({columns}) FROM STDIN WITH (FORMAT csv, HEADER, NULL '\\N')", data)
        return cursor.rowcount


@pytest.fixture
def both(empty_database: str) -> str:
    """One database with the CDR and the routing schema."""
    schema.apply(empty_database, SQL / "schema" / "cdr")
    schema.apply(empty_database, SQL / "schema" / "routing")
    return empty_database


@pytest.fixture
def march(both: str) -> str:
    """With the partitions of the golden data set."""
    schema.create_partitions(both, FIRST, LAST)
    return both


@pytest.fixture
def demo(both: str) -> str:
    schema.load_demo(both, both, SQL / "demo")
    return both


@pytest.fixture
def second_database(postgres: Any) -> Iterator[str]:
    name = "schema_routing_apart"
    with closing(psycopg2.connect(postgres.dsn("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        yield postgres.dsn(name)
        connection.cursor().execute(f"DROP DATABASE {name}")


@pytest.mark.parametrize("part", ["cdr", "routing"])
def test_a_schema_applies_twice(empty_database: str, part: str) -> None:
    names = sorted(file.name for file in (SQL / "schema" / part).glob("*.sql"))
    relations = "SELECT oid, relname FROM pg_class ORDER BY oid"
    assert schema.apply(empty_database, SQL / "schema" / part) == names
    before = rows(empty_database, relations)
    assert schema.apply(empty_database, SQL / "schema" / part) == names
    assert rows(empty_database, relations) == before


def test_each_schema_has_its_tables_alone_in_a_database(empty_database: str, second_database: str) -> None:
    schema.apply(empty_database, SQL / "schema" / "cdr")
    schema.apply(second_database, SQL / "schema" / "routing")
    for file in DATASET:
        for part, dsn in {"cdr": empty_database, "routing": second_database}.items():
            there = value(dsn, "SELECT to_regclass(%s) IS NOT NULL", file.stem)
            assert there == (PARTS[file.stem.split(".")[0]] == part)


def test_the_golden_data_set_loads_into_one_database(march: str) -> None:
    assert len(DATASET) == 6
    assert {file.stem: copy(march, file) for file in DATASET} == {
        "billing.account_balance_notification_settings": 9,
        "billing.accounts": 74,
        "cdr.cdr": 420,
        "public.contractors": 7,
        "sys.api_access": 12,
        "sys.customer_portal_access_profiles": 2,
    }


def test_the_golden_data_set_loads_into_two_databases(empty_database: str, second_database: str) -> None:
    databases = {"cdr": empty_database, "routing": second_database}
    for part, dsn in databases.items():
        schema.apply(dsn, SQL / "schema" / part)
    schema.create_partitions(empty_database, FIRST, LAST)
    assert all(copy(databases[PARTS[file.stem.split(".")[0]]], file) for file in DATASET)


def test_a_failing_file_is_named_and_nothing_of_its_folder_is_kept(empty_database: str, tmp_path: Path) -> None:
    (tmp_path / "01_good.sql").write_text("CREATE TABLE public.good (id integer);")
    (tmp_path / "02_bad.sql").write_text("CREATE TABEL public.bad (id integer);")
    with pytest.raises(schema.SchemaError, match=r"02_bad\.sql failed: syntax error"):
        schema.apply(empty_database, tmp_path)
    assert value(empty_database, "SELECT to_regclass('public.good')") is None


def test_a_folder_without_sql_is_refused(empty_database: str, tmp_path: Path) -> None:
    with pytest.raises(schema.SchemaError, match="No SQL files"):
        schema.apply(empty_database, tmp_path / "nowhere")


def test_calls_are_partitioned_by_range_of_time_start(both: str) -> None:
    assert value(both, "SELECT pg_get_partkeydef('cdr.cdr'::regclass)") == "RANGE (time_start)"


def test_the_primary_key_of_calls_is_id_and_time_start(both: str) -> None:
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'cdr.cdr'::regclass AND contype = 'p'"
    assert rows(both, key) == [("PRIMARY KEY (id, time_start)",)]


def test_calls_have_exactly_the_indexes_of_the_contract(both: str) -> None:
    indexes = rows(both, "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'cdr.cdr'::regclass")
    assert sorted(index.split(" btree ")[1] for (index,) in indexes) == [
        "(customer_acc_external_id, time_start) WHERE is_last_cdr",
        "(customer_acc_id, time_start)",
        "(customer_id, time_start)",
        "(id)",
        "(id, time_start)",
        "(time_start)",
        "(vendor_id, time_start)",
    ]


def test_only_id_and_time_start_of_a_call_are_required(both: str) -> None:
    columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'cdr' AND is_nullable = 'NO'"
    assert sorted(rows(both, columns)) == [("id",), ("time_start",)]


def test_a_call_has_the_columns_that_yetis_writer_fills(both: str) -> None:
    columns = dict(
        rows(both, "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'cdr.cdr'::regclass")
    )
    assert {name: columns.get(name) for name in WRITTEN} == WRITTEN
    assert value(both, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'cdr'") == 153


def test_a_whole_row_of_the_tables_type_is_stored(march: str) -> None:
    written = {name: WRITABLE[type_] for name, type_ in WRITTEN.items()}
    row = json.dumps({"id": 1, "time_start": "2026-03-05T12:00:00Z", **written})
    rows(march, "INSERT INTO cdr.cdr SELECT (jsonb_populate_record(NULL::cdr.cdr, %s)).*", row)
    stored = value(march, "SELECT to_jsonb(cdr) FROM cdr.cdr WHERE id = 1")
    assert {name: stored[name] for name in written} == written


def test_ids_of_calls_come_from_the_sequence(march: str) -> None:
    inserted = value(march, "INSERT INTO cdr.cdr (time_start) VALUES ('2026-03-05') RETURNING id")
    assert inserted == value(march, "SELECT last_value FROM cdr.cdr_id_seq")


def test_the_schema_declares_no_foreign_keys(both: str) -> None:
    assert rows(both, "SELECT conname FROM pg_constraint WHERE contype = 'f'") == []


def test_a_login_and_an_account_have_the_defaults_of_the_contract(both: str) -> None:
    login = "INSERT INTO sys.api_access (customer_id, login, password_digest) VALUES (1, 'a', '') RETURNING"
    assert rows(both, f"{login} account_ids, allowed_ips::text, customer_portal_access_profile_id") == [
        ([], "{0.0.0.0/0,::/0}", 1)
    ]
    profile = "INSERT INTO sys.customer_portal_access_profiles (name) VALUES ('a') RETURNING allow_listen_recording"
    assert value(both, profile) is False
    account = """INSERT INTO billing.accounts (
        contractor_id, name, balance, min_balance, max_balance, currency_id, currency_name
    ) VALUES (1, 'a', 0, 0, 0, 1, 'USD') RETURNING uuid IS NOT NULL"""
    assert value(both, account) is True


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_a_call_goes_to_the_partition_of_its_utc_day(both: str, zone: str) -> None:
    dsn = make_dsn(both, options=f"-c TimeZone={zone}")
    schema.create_partitions(dsn, FIRST, LAST)
    insert = "INSERT INTO cdr.cdr (time_start) VALUES (%s) RETURNING tableoid::regclass::text"
    assert value(dsn, insert, "2026-03-05 00:00:00+00") == "cdr.cdr_2026_03_05"
    assert value(dsn, insert, "2026-03-05 23:59:59.999999+00") == "cdr.cdr_2026_03_05"
    assert value(dsn, insert, "2026-03-06 00:00:00+00") == "cdr.cdr_2026_03_06"


def test_partitions_are_bounded_by_utc_midnights_whatever_the_session_says(both: str) -> None:
    schema.create_partitions(make_dsn(both, options="-c TimeZone=Asia/Tokyo"), FIRST, FIRST)
    bounds = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = 'cdr.cdr_2026_03_01'::regclass"
    assert value(make_dsn(both, options="-c TimeZone=UTC"), bounds) == (
        "FOR VALUES FROM ('2026-03-01 00:00:00+00') TO ('2026-03-02 00:00:00+00')"
    )


@pytest.mark.parametrize("path", ["public", "cdr, public"])
def test_partitions_are_created_once(both: str, path: str) -> None:
    dsn = make_dsn(both, options=f"-c search_path={path.replace(' ', '')}")
    assert schema.create_partitions(dsn, FIRST, date(2026, 3, 2)) == ["cdr.cdr_2026_03_01", "cdr.cdr_2026_03_02"]
    assert schema.create_partitions(dsn, FIRST, date(2026, 3, 3)) == ["cdr.cdr_2026_03_03"]
    assert schema.create_partitions(dsn, FIRST, date(2026, 3, 3)) == []


def test_no_partition_is_created_where_the_days_end_before_they_begin(both: str) -> None:
    assert schema.create_partitions(both, LAST, FIRST) == []


def test_an_overlap_names_the_day_and_both_partitions_and_keeps_nothing(both: str) -> None:
    month = "CREATE TABLE cdr.cdr_2026_03 PARTITION OF cdr.cdr FOR VALUES FROM ('2026-03-01+00') TO ('2026-04-01+00')"
    rows(both, month)
    with pytest.raises(schema.SchemaError, match=r'2026-03-01.*"cdr_2026_03_01" would overlap partition "cdr_2026_03"'):
        schema.create_partitions(both, date(2026, 2, 27), FIRST)
    assert value(both, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'cdr.cdr'::regclass") == 1


def test_a_table_that_only_has_a_partitions_name_is_an_error(both: str) -> None:
    rows(both, "CREATE TABLE cdr.cdr_2026_03_01 (id bigint)")
    with pytest.raises(schema.SchemaError, match=r'2026-03-01.*"cdr_2026_03_01" already exists'):
        schema.create_partitions(both, FIRST, FIRST)


def test_partitions_need_the_schema(empty_database: str) -> None:
    with pytest.raises(schema.SchemaError, match=r'2026-03-01.*"cdr" does not exist'):
        schema.create_partitions(empty_database, FIRST, FIRST)


def test_the_demo_has_three_customers_of_which_one_is_limited_and_one_may_listen(demo: str) -> None:
    assert value(demo, "SELECT count(*) FROM public.contractors WHERE customer AND vendor") == 3
    logins = """
        SELECT customer_id, account_ids, allow_listen_recording
          FROM sys.api_access
          JOIN sys.customer_portal_access_profiles AS profile ON profile.id = customer_portal_access_profile_id
         ORDER BY customer_id"""
    assert rows(demo, logins) == [(101, [], True), (102, [1021], False), (103, [], False)]


@pytest.mark.parametrize("role", ["vendor", "customer"])
def test_every_demo_login_sees_calls_of_the_last_day_in_both_roles(demo: str, role: str) -> None:
    calls = f"""
        SELECT api_access.customer_id, count(cdr.id) > 100
          FROM sys.api_access
          LEFT JOIN cdr.cdr ON cdr.{role}_id = api_access.customer_id
           AND (account_ids = '{{}}' OR {role}_acc_id = ANY(account_ids))
           AND time_start > now() - interval '24 hours'
         GROUP BY api_access.customer_id"""
    assert sorted(rows(demo, calls)) == [(101, True), (102, True), (103, True)]


def test_demo_calls_end_in_the_last_ten_days_the_newest_a_few_minutes_ago(demo: str) -> None:
    span = """
        SELECT min(time_start) > now() - interval '10 days',
               max(time_end) < now() - interval '2 minutes',
               max(time_end) > now() - interval '5 minutes',
               count(*) FILTER (WHERE is_last_cdr)
          FROM cdr.cdr"""
    assert rows(demo, span) == [(True, True, True, 6000)]


def test_no_demo_call_contradicts_itself(demo: str) -> None:
    assert {broken for broken in BROKEN if rows(demo, f"SELECT FROM cdr.cdr WHERE {broken} LIMIT 1")} == set()


def test_accounts_of_demo_calls_belong_to_their_parties(demo: str) -> None:
    strangers = """
        SELECT cdr.id
          FROM cdr.cdr
          LEFT JOIN billing.accounts AS paying ON paying.id = customer_acc_id AND paying.contractor_id = customer_id
          LEFT JOIN billing.accounts AS paid ON paid.id = vendor_acc_id AND paid.contractor_id = vendor_id
         WHERE paying.external_id IS DISTINCT FROM customer_acc_external_id
            OR paid.external_id IS DISTINCT FROM vendor_acc_external_id
            OR paying.vat IS DISTINCT FROM customer_acc_vat
            OR (vendor_id IS NOT NULL AND paid.id IS NULL)"""
    assert rows(demo, strangers) == []


def test_ids_of_demo_calls_follow_their_ends(demo: str) -> None:
    late = (
        "SELECT id FROM (SELECT id, time_end < lag(time_end) OVER (ORDER BY id) AS late FROM cdr.cdr) AS r WHERE late"
    )
    assert rows(demo, late) == []


def test_each_recorded_demo_call_has_a_tag_of_its_own(demo: str) -> None:
    recorded = "SELECT count(*) > 500, count(*) - count(DISTINCT local_tag) FROM cdr.cdr WHERE audio_recorded"
    assert rows(demo, recorded) == [(True, 0)]


def test_the_last_attempt_of_each_demo_call_is_the_only_last_one(demo: str) -> None:
    attempts = """
        SELECT local_tag
          FROM cdr.cdr
         GROUP BY local_tag
        HAVING count(*) FILTER (WHERE is_last_cdr) <> 1
            OR max(routing_attempt) <> max(routing_attempt) FILTER (WHERE is_last_cdr)"""
    assert rows(demo, attempts) == []
    assert value(demo, "SELECT max(routing_attempt) FROM cdr.cdr") == 3


def test_loading_the_demo_again_adds_only_calls_since(demo: str) -> None:
    before = value(demo, "SELECT count(*) FROM cdr.cdr")
    schema.load_demo(demo, demo, SQL / "demo")
    assert 0 <= value(demo, "SELECT count(*) FROM cdr.cdr") - before < 1000
    assert value(demo, "SELECT count(*) FROM sys.api_access") == 3
