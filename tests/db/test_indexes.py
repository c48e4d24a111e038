"""Search indexes on a real table: recognition, builds, and the state after failures."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from service.db import index_builds, indexes, schema
from service.db.index_builds import create, drop, inspect
from service.db.indexes import SearchIndex, Status
from service.db.schema import SchemaError
from service.files import SQL
from tests.conftest import Data

KNOWN = indexes.search_indexes()
TAG, TAG_TRGM, NUMBER = KNOWN["local_tag"], KNOWN["local_tag_trgm"], KNOWN["dst_prefix_routing"]
PARTITIONS = 12  # Of the prepared database.


def quiet(_: str) -> None:
    pass


def status(data: Data, wanted: SearchIndex = TAG) -> Status:
    return indexes.status(inspect(data.dsn), wanted)


def newest(data: Data) -> str:
    return inspect(data.dsn).partitions[0].name


def search_index_names(data: Data) -> list[str]:
    found = inspect(data.dsn).indexes
    return [index.name for index in found if index.definition in {wanted.definition for wanted in KNOWN.values()}]


@contextmanager
def transaction(data: Data, statement: str) -> Iterator[Any]:
    """A writer that has not committed yet."""
    with closing(psycopg2.connect(data.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        yield connection


@pytest.mark.parametrize("wanted", KNOWN.values(), ids=KNOWN)
def test_each_file_is_a_statement_that_makes_its_index(data: Data, wanted: SearchIndex) -> None:
    data.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    data.execute((SQL / "indexes" / f"{wanted.name}.sql").read_text(encoding="utf-8"))
    found = status(data, wanted)
    assert (found.built, found.possible, found.on_parent) == (PARTITIONS, PARTITIONS, True)
    assert wanted.serves.split(":")[0] in ("cdrs", "incoming-cdrs", "both resources")


def test_indexes_are_built_attached_and_valid_on_the_parent(data: Data) -> None:
    create(data.dsn, [TAG, TAG_TRGM], quiet)
    for wanted in (TAG, TAG_TRGM):
        assert status(data, wanted).built == PARTITIONS
        [parent] = inspect(data.dsn).of(inspect(data.dsn).tables[0], wanted)
        assert parent.valid
    data.execute("CREATE TABLE cdr.later PARTITION OF cdr.cdr FOR VALUES FROM ('2100-01-01') TO ('2100-01-02')")
    assert status(data).built == PARTITIONS + 1


def test_building_goes_from_the_newest_partition_to_the_oldest(data: Data) -> None:
    said: list[str] = []
    create(data.dsn, [TAG], said.append)
    built = [text.split()[1] for text in said]
    assert built == sorted(built, reverse=True)
    assert len(built) == PARTITIONS


def test_a_second_run_builds_nothing(data: Data) -> None:
    create(data.dsn, [TAG], quiet)
    before, said = search_index_names(data), list[str]()
    create(data.dsn, [TAG], said.append)
    assert search_index_names(data) == before
    assert said == []


def test_an_existing_index_is_recognised_whatever_its_name(data: Data) -> None:
    data.execute("CREATE INDEX ours ON cdr.cdr (local_tag varchar_pattern_ops) WITH (fillfactor = 70)")
    assert status(data).built == PARTITIONS
    before = search_index_names(data)
    create(data.dsn, [TAG], quiet)
    assert search_index_names(data) == before


def test_an_existing_index_of_one_partition_is_attached_and_not_built_again(data: Data) -> None:
    data.execute(f"CREATE INDEX ours ON {newest(data)} (local_tag text_pattern_ops)")
    assert (status(data).built, status(data).on_parent) == (1, False)
    create(data.dsn, [TAG], quiet)
    [index] = inspect(data.dsn).of(inspect(data.dsn).partitions[0], TAG)
    assert (index.name, index.parent is not None) == ("cdr.ours", True)


@pytest.mark.parametrize(
    "other",
    [
        "(local_tag)",
        "(local_tag text_pattern_ops, id)",
        "(local_tag text_pattern_ops) WHERE is_last_cdr",
        "(lower(local_tag) text_pattern_ops)",
        "(local_tag text_pattern_ops) INCLUDE (id)",
    ],
)
def test_an_index_of_another_definition_does_not_count(data: Data, other: str) -> None:
    data.execute(f"CREATE INDEX ours ON cdr.cdr {other}")
    assert status(data).built == 0


def test_an_unfinished_index_is_built_again(data: Data) -> None:
    """As it is left by CREATE INDEX CONCURRENTLY when it is cancelled while it waits for a writer."""
    partition = newest(data)
    with (
        transaction(data, f"LOCK TABLE {partition} IN ROW EXCLUSIVE MODE"),
        closing(psycopg2.connect(make_dsn(data.dsn, options="-c statement_timeout=500"))) as connection,
    ):
        connection.autocommit = True
        statement = f"CREATE INDEX CONCURRENTLY leftover ON {partition} (local_tag text_pattern_ops)"
        with pytest.raises(psycopg2.errors.QueryCanceled):
            connection.cursor().execute(statement)
    assert (status(data).built, status(data).invalid) == (0, 1)
    said: list[str] = []
    create(data.dsn, [TAG], said.append)
    assert (status(data).built, status(data).invalid) == (PARTITIONS, 0)
    assert "cdr.leftover is unfinished" in said[0]


def test_a_build_that_failed_goes_on_where_it_stopped(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def interrupting(text: str) -> None:
        built.append(text)
        if len(built) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create(data.dsn, [TAG], interrupting)
    assert (status(data).built, status(data).on_parent) == (3, True)
    said: list[str] = []
    create(data.dsn, [TAG], said.append)
    assert len(said) == PARTITIONS - 3
    assert status(data).built == PARTITIONS


def test_the_parents_lock_is_tried_again_and_writers_are_not_held_up(data: Data) -> None:
    """While a writer's transaction is open, the command waits in turns, between which others write."""
    said: list[str] = []
    waiting = threading.Event()

    def listen(text: str) -> None:
        said.append(text)
        waiting.set()

    with transaction(data, "INSERT INTO cdr.cdr (id, time_start) VALUES (1, now())") as writer:
        builder = threading.Thread(target=create, args=(data.dsn, [TAG], listen))
        builder.start()
        assert waiting.wait(30)
        data.execute("INSERT INTO cdr.cdr (id, time_start) VALUES (2, now())")
        assert builder.is_alive()
        writer.commit()
    builder.join(60)
    assert said[0].startswith("waiting for a lock: CREATE INDEX ON ONLY cdr.cdr")
    assert status(data).built == PARTITIONS


def test_a_lock_that_is_never_free_ends_in_words(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_builds, "MAX_ATTEMPTS", 1)
    with (
        transaction(data, "INSERT INTO cdr.cdr (id, time_start) VALUES (1, now())"),
        pytest.raises(SchemaError, match=r"No lock after 1 attempts.*Run the same command to continue"),
    ):
        create(data.dsn, [TAG], quiet)


def test_foreign_partitions_are_said_and_left_as_they_are(data: Data) -> None:
    """A partitioned table with foreign partitions cannot have unique indexes, so it has no primary key."""
    data.execute("ALTER TABLE cdr.cdr DROP CONSTRAINT cdr_pkey; CREATE EXTENSION postgres_fdw")
    data.execute("CREATE SERVER archive FOREIGN DATA WRAPPER postgres_fdw")
    data.execute(
        "CREATE FOREIGN TABLE cdr.archived PARTITION OF cdr.cdr FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')"
        " SERVER archive"
    )
    said: list[str] = []
    create(data.dsn, [TAG], said.append)
    assert said[-1] == "local_tag: cdr.archived is a foreign table, skipped"
    assert (status(data).built, status(data).foreign) == (PARTITIONS, 1)
    data.execute("CREATE TABLE cdr.later PARTITION OF cdr.cdr FOR VALUES FROM ('2100-01-01') TO ('2100-01-02')")
    assert status(data).built == PARTITIONS + 1


def test_partitions_that_are_partitioned_get_theirs_too(data: Data) -> None:
    data.execute("ALTER TABLE cdr.cdr DROP CONSTRAINT cdr_pkey")
    data.execute(
        "CREATE TABLE cdr.month PARTITION OF cdr.cdr FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"
        " PARTITION BY HASH (vendor_id)"
    )
    for number in (0, 1):
        data.execute(
            f"CREATE TABLE cdr.month_{number} PARTITION OF cdr.month FOR VALUES WITH (MODULUS 2, REMAINDER {number})"
        )
    create(data.dsn, [TAG], quiet)
    catalog = inspect(data.dsn)
    assert status(data).built == PARTITIONS + 2
    assert all(catalog.of(table, TAG)[0].valid for table in catalog.tables)


def test_dropping_leaves_nothing_of_the_definition(data: Data) -> None:
    before = {index.oid for index in inspect(data.dsn).indexes}
    create(data.dsn, [TAG, NUMBER], quiet)
    drop(data.dsn, [TAG], quiet)
    assert (status(data).built, status(data, NUMBER).built) == (0, PARTITIONS)
    data.execute(f"CREATE INDEX ours ON {newest(data)} (dst_prefix_routing text_pattern_ops)")
    drop(data.dsn, [NUMBER], quiet)
    assert {index.oid for index in inspect(data.dsn).indexes} == before


def test_a_role_that_does_not_own_the_table_is_told_who_does(data: Data) -> None:
    data.execute("DO $$ BEGIN CREATE ROLE index_reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    data.execute("GRANT USAGE ON SCHEMA cdr TO index_reader; GRANT SELECT ON cdr.cdr TO index_reader")
    dsn = make_dsn(data.dsn, user="index_reader")
    with pytest.raises(
        SchemaError, match=r"role index_reader may not change indexes of cdr\.cdr; use its owner postgres"
    ):
        create(dsn, [TAG], quiet)
    assert indexes.status(inspect(dsn), TAG).possible == PARTITIONS


def test_an_owner_who_may_not_add_the_extension_is_told_who_may(data: Data) -> None:
    data.execute("DO $$ BEGIN CREATE ROLE index_owner LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    data.execute("GRANT ALL ON SCHEMA cdr TO index_owner; ALTER TABLE cdr.cdr OWNER TO index_owner")
    with pytest.raises(SchemaError, match=r"pg_trgm.*Run CREATE EXTENSION pg_trgm as a superuser"):
        create(make_dsn(data.dsn, user="index_owner"), [TAG_TRGM], quiet)


def test_trigrams_in_another_schema_are_recognised(data: Data) -> None:
    data.execute('CREATE SCHEMA "my extensions"; CREATE EXTENSION pg_trgm SCHEMA "my extensions"')
    create(data.dsn, [TAG_TRGM], quiet)
    assert status(data, TAG_TRGM).built == PARTITIONS


def test_two_builds_at_a_time_are_refused(data: Data) -> None:
    with (
        transaction(data, f"SELECT pg_advisory_lock({index_builds.ADVISORY_LOCK})"),
        pytest.raises(SchemaError, match="Another process is building"),
    ):
        create(data.dsn, [TAG], quiet)


def test_a_database_without_calls_is_refused(empty_database: str) -> None:
    with pytest.raises(SchemaError, match=r"table cdr\.cdr does not exist"):
        inspect(empty_database)


def test_sizes_are_estimated_from_statistics_and_then_known(data: Data) -> None:
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, local_tag)"
        " SELECT n, now(), md5(n::text) FROM generate_series(1, 9999) AS n"
    )
    assert status(data).missing_size is None
    data.execute("ANALYZE cdr.cdr")
    estimate = status(data).missing_size
    create(data.dsn, [TAG], quiet)
    assert estimate is not None
    assert 0.5 < status(data).size / estimate < 2


def test_apply_adds_no_index_that_is_there_under_another_name(data: Data) -> None:
    data.execute("ALTER INDEX cdr.cdr_customer_acc_id_time_start_idx RENAME TO index_cdr_on_customer_acc_id")
    data.execute("ALTER INDEX cdr.cdr_customer_acc_external_id_time_start_idx RENAME TO index_cdr_on_external")
    before = {index.oid for index in inspect(data.dsn).indexes}
    schema.apply(data.dsn, SQL / "schema" / "cdr")
    assert {index.oid for index in inspect(data.dsn).indexes} == before


def test_apply_adds_an_index_that_only_looks_like_one(data: Data) -> None:
    data.execute("DROP INDEX cdr.cdr_customer_acc_external_id_time_start_idx")
    data.execute("CREATE INDEX ours ON cdr.cdr (customer_acc_external_id, time_start)")
    schema.apply(data.dsn, SQL / "schema" / "cdr")
    assert data.execute("SELECT to_regclass('cdr.cdr_customer_acc_external_id_time_start_idx') IS NOT NULL") == [
        (True,)
    ]
