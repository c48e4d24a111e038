"""Tests for every layout. A layout's module defines the fixture `layout` and a subclass."""

import json
from datetime import timedelta
from functools import partial
from urllib.parse import urlencode, urlsplit

import pytest

from service.db.partitions import PartitionDirectory
from service.db.pool import Limits, Pool
from service.db.search import PartitionSearch
from service.web.keys import STATE
from tests.conftest import Api, Serve
from tests.corpus import CORPORA, replay
from tests.layouts.servers import (
    CALLS_A_DAY,
    DAY,
    DAYS,
    FIRST,
    LAST_ID,
    TODAY,
    VENDORS,
    Layout,
    account_of,
    calls_of,
    name_of,
    started_by,
)
from tests.load import until

EVER = urlencode({"filter[time_start_gteq]": FIRST.isoformat()})
VENDOR = 3
TOO_LATE = {503, 504}  # PostgreSQL 15 gives up after connect_timeout, with 503; later versions wait.


async def started(serve: Serve, settings: dict[str, str]) -> Api:
    """The service, once its directory has been read and its replicas checked."""
    api = await serve(settings["DATABASES__CDR__DSN"], **settings)
    services = api.client.app[STATE].services
    await until(lambda: services.directories["cdr.cdr"].refreshed is not None)
    await until(lambda: all(replica.healthy for replica in services.replicas))
    return api


def all_calls_of(vendor: int) -> list[str]:
    return [str(identifier) for ago in reversed(range(DAYS)) for identifier in calls_of(vendor, ago)]


class Answers:
    """The recorded answers, and those about calls whose ids are known."""

    @pytest.mark.slow
    @pytest.mark.parametrize(("corpus", "settings"), CORPORA)
    def test_every_recorded_request_is_answered_as_the_reference_did(
        self, layout: Layout, corpus: str, settings: dict[str, str]
    ) -> None:
        replay(corpus, **layout.golden, **settings)

    @pytest.fixture
    async def api(self, serve: Serve, layout: Layout) -> Api:
        return await started(serve, dict(layout.calls))

    async def test_a_list_of_all_days_has_all_calls_and_their_number(self, api: Api) -> None:
        answer = await api.get(f"incoming-cdrs?{EVER}&sort=id&page[size]=1000", VENDOR)
        assert answer.ids == all_calls_of(VENDOR)
        page = await api.get(f"incoming-cdrs?{EVER}&page[size]=7&page[number]=3&sort=-time-start", VENDOR)
        assert page.ids == all_calls_of(VENDOR)[::-1][14:21]
        assert page.json["meta"] == {"total-count": DAYS * CALLS_A_DAY}

    async def test_a_customers_calls_are_found_wherever_their_vendors_are(self, api: Api) -> None:
        answer = await api.get(f"cdrs?{EVER}&sort=id&page[size]=1000", VENDOR)
        assert answer.ids == [str(identifier) for identifier in started_by(VENDOR)]
        for identifier in started_by(VENDOR)[::37]:
            assert (await api.get(f"cdrs/{identifier}", VENDOR)).json["data"]["id"] == str(identifier)

    async def test_a_walk_by_cursors_meets_each_call_once(self, api: Api) -> None:
        found: list[str] = []
        path = f"incoming-cdrs?{EVER}&sort=time-start&page[size]=50&page[after]="
        while path:
            answer = await api.get(path, VENDOR)
            found += answer.ids
            following = urlsplit(answer.json["links"]["next"] or "")
            path = following.path and f"{following.path}?{following.query}"
        assert found == all_calls_of(VENDOR)

    async def test_each_call_is_found_by_its_id_and_none_of_others(self, api: Api) -> None:
        for ago in range(DAYS):
            for identifier in calls_of(VENDOR, ago)[::13]:
                assert (await api.get(f"incoming-cdrs/{identifier}", VENDOR)).json["data"]["id"] == str(identifier)
            assert (await api.get(f"incoming-cdrs/{calls_of(VENDOR, ago)[0]}", VENDOR + 1)).status == 404

    @pytest.mark.slow
    async def test_a_late_call_of_any_day_is_found_at_once(self, api: Api, layout: Layout) -> None:
        for ago in range(DAYS):
            identifier, moment = 10**7 + ago, TODAY - ago * DAY
            assert (await api.get(f"incoming-cdrs/{identifier}", 8)).status == 404
            layout.execute(
                "INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (%s, %s, %s)", (identifier, moment, 8)
            )
            assert (await api.get(f"incoming-cdrs/{identifier}", 8)).status == 200
        layout.execute("DELETE FROM cdr.cdr WHERE id >= %s", (10**7,))

    async def test_late_calls_stretch_no_typical_range(self, layout: Layout) -> None:
        """Foreign tables have no statistics unless somebody analyses them; then some rows stand for all."""
        late = "INSERT INTO cdr.cdr (id, time_start, vendor_id) SELECT %s + n, %s, n FROM generate_series(1, 8) AS n"
        for ago in range(1, DAYS):
            layout.execute(late, (LAST_ID + 8 * ago, (TODAY - ago * DAY).replace(hour=12, minute=7)))
        pooled = layout.calls.get("DATABASES__TRANSACTION_POOLING") == "true"
        pool = Pool("search", layout.calls["DATABASES__CDR__DSN"], Limits(2, 10, 10, 60, pooled=pooled))
        search = PartitionSearch(pool)
        directory = PartitionDirectory(pool, search, 86400)
        await directory.refresh()
        right = 0
        for ago in range(1, DAYS):
            for identifier in calls_of(4, ago):
                first = next(iter(directory.candidates(identifier)))
                right += [partition.name for partition in first] == [f"cdr.{name_of(TODAY - ago * DAY)}"]
        await search.close()
        await pool.close()
        layout.execute("DELETE FROM cdr.cdr WHERE id > %s", (LAST_ID,))
        assert right >= 0.75 * (DAYS - 1) * CALLS_A_DAY

    async def test_an_export_has_every_call(self, api: Api) -> None:
        answer = await api.get(f"incoming-cdrs?{EVER}&sort=id&format=ndjson&fields[incoming-cdrs]=duration", VENDOR)
        assert [json.loads(line)["id"] for line in answer.body.splitlines()] == all_calls_of(VENDOR)

    async def test_statistics_add_up_every_call_and_notice_late_ones(self, api: Api, layout: Layout) -> None:
        vendor = VENDORS[-1]
        until_today = {"from-time": FIRST.isoformat(), "to-time": (TODAY - timedelta(seconds=1)).isoformat()}
        path = (
            f"termination-statistics?{urlencode({'account-id': account_of(vendor), 'sampling': 'day', **until_today})}"
        )
        for late in (0, 1):
            await until(partial(_counts, api, path, vendor, (DAYS - 1) * CALLS_A_DAY + late))
            layout.execute(
                "INSERT INTO cdr.cdr (id, time_start, vendor_id, vendor_acc_id) VALUES (%s, %s, %s, %s)",
                (10**8 + late, TODAY - DAY, vendor, vendor),
            )
        layout.execute("DELETE FROM cdr.cdr WHERE id >= %s", (10**8,))


async def _counts(api: Api, path: str, caller: int, expected: int) -> bool:
    """Counters of changes and standbys are behind for a while."""
    return bool((await api.get(path, caller)).json["totals"]["total_calls"] == expected)
