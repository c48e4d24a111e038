"""In any order and with concurrent changes, an export has no duplicates and misses no record that exists throughout."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.db.connection import Limits
from service.db.export import ExportReader
from service.db.partitions import PartitionDirectory
from service.db.pool import Pool
from service.db.records import RecordReader
from service.db.replicas import ReplicaRouter
from service.db.search import PartitionSearch
from service.query import Caller, Everything, Query, Sort
from service.schemas.resource import configured
from tests.conftest import Data

RESOURCE = configured(UTC, {})["incoming-cdrs"]
DAYS = 4
COLUMNS = ("time_start", "duration", "src_prefix_routing", "success")  # With few different values, and with NULL.
SORTS = st.lists(st.builds(Sort, st.sampled_from(COLUMNS), st.booleans()), max_size=2, unique_by=lambda s: s.column)
CHANGES = st.lists(st.sampled_from(["insert", "detach", "create"]), max_size=4)


class Calls:
    """Made-up calls of one customer in the partitions of four days."""

    def __init__(self, data: Data, seed: int) -> None:
        self.dsn = data.dsn
        self._data = data
        self._dice = random.Random(seed)
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._days = [today - timedelta(days=number) for number in range(DAYS)]
        self._last = 0
        self._years = iter(range(2030, 2100))
        self._detached: list[datetime] = []

    def insert(self, number: int = 40) -> None:
        choices = [None, 0, 1], [None, "", "44", "45"], [None, True, False]
        days = [day for day in self._days if day not in self._detached]
        rows = []
        for _ in range(number):
            self._last += 1
            moment = self._dice.choice(days) + timedelta(minutes=self._dice.randrange(5))
            rows.append((self._last, moment, *map(self._dice.choice, choices)))
        self._data.execute(
            "INSERT INTO cdr.cdr (id, time_start, duration, src_prefix_routing, success, vendor_id)"
            " SELECT *, 7 FROM unnest(%s::bigint[], %s::timestamptz[], %s::int[], %s::text[], %s::boolean[])",
            tuple(map(list, zip(*rows, strict=True))),
        )

    def detach(self) -> None:
        """The partition of a day, if it is not detached yet."""
        day = self._dice.choice(self._days)
        if len(self._detached) < DAYS - 1 and day not in self._detached:
            self._detached.append(day)
            self._data.execute(f"ALTER TABLE cdr.cdr DETACH PARTITION cdr.cdr_{day:%Y_%m_%d}")

    def create(self) -> None:
        year = next(self._years)
        bounds = f"FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
        self._data.execute(f"CREATE TABLE cdr.made_{year} PARTITION OF cdr.cdr FOR VALUES {bounds}")

    def ids(self) -> set[int]:
        return {id for (id,) in self._data.execute("SELECT id FROM cdr.cdr")}

    def clear(self) -> None:
        """Undoes everything."""
        for day in self._detached:
            bounds = f"FROM ('{day.isoformat()}') TO ('{(day + timedelta(days=1)).isoformat()}')"
            self._data.execute(f"ALTER TABLE cdr.cdr ATTACH PARTITION cdr.cdr_{day:%Y_%m_%d} FOR VALUES {bounds}")
        for year in range(2030, next(self._years)):
            self._data.execute(f"DROP TABLE cdr.made_{year}")
        self._data.execute("TRUNCATE cdr.cdr")


async def exported(calls: Calls, sorts: tuple[Sort, ...], changes: list[str]) -> list[int]:
    """The ids that an export reads, each batch in a transaction of its own and with a change before it."""
    pools = [Pool(name, calls.dsn, Limits(1, 5, 5, 60)) for name in ("cdr", "search", "exports")]
    search = PartitionSearch(pools[1])
    directories = {"cdr.cdr": PartitionDirectory(pools[1], search, 86400)}
    records = RecordReader(ReplicaRouter(pools[0]), pools[0], directories, 0, 0, {})
    reader = ExportReader({"cdr": pools[2]}, records, transaction_timeout=60)
    query = Query(RESOURCE, ("id",), Caller(7, None, False), sorts=sorts, window=Everything(10**6))
    found, pending = [], list(changes)
    try:
        async with reader.open(query) as export:
            async for batch in export.batches():
                found += [id for (id,) in batch]
                await export._cursor.close()  # As after a pause of the reader, so that nothing waits for its lock.
                if pending:
                    getattr(calls, pending.pop())()
    finally:
        await search.close()
        for pool in pools:
            await pool.close()
    return found


@settings(
    max_examples=15,
    phases=(Phase.generate,),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), sorts=SORTS, changes=CHANGES, number=st.integers(40, 700))
def test_an_export_holds_all_that_is_there_from_beginning_to_end_once(
    data: Data, seed: int, sorts: list[Sort], changes: list[str], number: int
) -> None:
    calls = Calls(data, seed)
    try:
        calls.insert(number)
        before = calls.ids()
        found = asyncio.run(exported(calls, (*sorts, Sort("id")), changes))
        assert len(found) == len(set(found))
        assert set(found) >= before & calls.ids()
    finally:
        calls.clear()
