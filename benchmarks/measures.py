"""All measurements by name. Each round runs all of them, so that other load affects all compared values."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import databases, load, portal, programs, rendering
from benchmarks.databases import Databases, Say, Size
from benchmarks.load import Job
from benchmarks.programs import LISTS, TOKEN, Program
from service.db.search import IDLE

Measure = Callable[[], float]
Measures = dict[str, Measure]

LIST_50 = f"{LISTS}?page%5Bsize%5D=50"
LIST_1000 = f"{LISTS}?page%5Bsize%5D=1000"
ONCE = ("memory", "export few", "export many")  # These start a separate service, and vary little.
UNKNOWN = [f"{LISTS}/{10**15 + number}" for number in range(2000)]


@dataclass(frozen=True)
class Plan:
    """The size of a run: sizes of databases in ascending order, seconds and rounds."""

    sizes: tuple[Size, ...]
    usual: Size  # For all other measurements.
    seconds: float
    rounds: int
    lookups: int  # The number of look-ups before the memory of the backends is read,
    lookup_seconds: float  # and their maximum duration.
    depth: int
    exported: tuple[int, int]


class NotServedError(Exception):
    """This version of the service does not have the measured feature."""


@dataclass
class Bench:
    """Databases, a folder for logs, and a plan. The stack stops the started programs."""

    databases: Databases
    logs: Path
    plan: Plan
    say: Say
    stack: ExitStack
    peers: Path | None = None

    def measures(self) -> Measures:
        """All measures by name, except those of missing features."""
        found = {**self._side_by_side(), **self._partitions(), **self._render()}
        for name, make in {
            "workers": self._workers,
            "keyset": self._keyset,
            "export": self._export,
            "memory": self._memory,
            "portal": self._portal,
        }.items():
            try:
                found |= make()
            except NotServedError as reason:
                self.say(f"{name} is not served: {reason}")
        return found

    def _side_by_side(self) -> Measures:
        """Service, bare handler, naive app and peers on the usual database; look-ups during a flood of unknown ids."""
        size = self.plan.usual
        dsn, shows = self.databases.dsn(size), self._shows(size)
        self.served = self._running(programs.service("service", dsn, self.logs))
        rivals = [self._running(programs.beside("naive", dsn, self.logs)), *self._peers(dsn)]
        bare = self._running(programs.beside("bare", dsn, self.logs))
        found: Measures = {"show bare": self._rate(Job(bare.url, shows, TOKEN, 16, self.plan.seconds))}
        for program in (self.served, *rivals):
            found[f"show {program.name}"] = self._rate(Job(program.url, shows, TOKEN, 16, self.plan.seconds))
            found[f"list 50 {program.name}"] = self._rate(Job(program.url, [LIST_50], TOKEN, 4, self.plan.seconds))
            found[f"list 1000 {program.name}"] = self._rate(Job(program.url, [LIST_1000], TOKEN, 4, self.plan.seconds))
        known = self._met(Job(self.served.url, shows, TOKEN, 4, self.plan.seconds))
        flood = replace(known, paths=UNKNOWN, concurrency=16, expected=404, seconds=known.seconds + 0.5)
        found["known alone"] = self._rate(known)
        found["known flooded"] = lambda: self._beside(known, flood)
        return found

    def _peers(self, dsn: str) -> list[Program]:
        if self.peers is None:
            return []
        return [self._running(programs.peer(name, self.peers, dsn, self.logs)) for name in programs.PEERS]

    def _partitions(self) -> Measures:
        """Look-ups on databases of all sizes."""
        found: Measures = {}
        for size in self.plan.sizes:
            dsn = self.databases.dsn(size)
            program = self._running(programs.service(f"service on {size.days}", dsn, self.logs))
            job = self._met(Job(program.url, self._shows(size), TOKEN, 4, self.plan.seconds))
            found[f"show of {size.days}"] = self._rate(job)
        return found

    def _render(self) -> Measures:
        made = rendering.records()
        assert rendering.get_renderer(made)() == rendering.dumped(made)()
        return {
            "render compiled": lambda: rendering.seconds(rendering.get_renderer(made), 20),
            "render dumped": lambda: rendering.seconds(rendering.dumped(made), 3),
        }

    def _workers(self) -> Measures:
        if not programs.is_setting("LISTEN__WORKERS"):
            raise NotServedError("there is no setting listen.workers")
        size = self.plan.usual
        two = programs.service("two workers", self.databases.dsn(size), self.logs, LISTEN__WORKERS="2")
        job = self._met(Job(self._running(two).url, self._shows(size), TOKEN, 16, self.plan.seconds))
        return {"show two workers": self._rate(job)}

    def _portal(self) -> Measures:
        """Logins and statistics, and look-ups during logins."""
        if not programs.is_setting("STATISTICS__CACHE_SECONDS"):
            raise NotServedError("there is no setting statistics.cache_seconds")
        size = self.plan.usual
        dsn, many = (
            self.databases.dsn(size),
            {"AUTH__FAILED_LOGINS": "1000000", "AUTH__FAILED_LOGINS_BY_ADDRESS": "1000000"},
        )
        uncached = programs.service("logins", dsn, self.logs, STATISTICS__CACHE_SECONDS="0", **many)
        known = self._met(Job(self._running(uncached).url, self._shows(size), TOKEN, 4, self.plan.seconds))

        def beside() -> float:
            with portal.logins(uncached):
                return self._rated(load.finished(load.started(known)), known)

        found = portal.measures(self.databases, size, self.served, uncached)
        return found | {"show without logins": self._rate(known), "show beside logins": beside}

    def _keyset(self) -> Measures:
        """A page at the start and one at the depth, newest calls first."""
        since = f"{LISTS}?filter%5Btime_start_gteq%5D=2000-01-01&fields%5Bincoming-cdrs%5D=duration"
        path, depth = f"{since}&page%5Bsize%5D=1000&page%5Bafter%5D=", 0
        while depth < self.plan.depth:
            status, _, body = self.served.get(path)
            links = json.loads(body).get("links", {}) if status == 200 else {}
            if "page%5Bafter%5D" not in (links.get("next") or ""):
                raise NotServedError("no page[after]" if not depth else f"{self.plan.depth} records are not there")
            address = urlsplit(links["next"])
            path, depth = f"{address.path}?{address.query}", depth + 1000
        pages = {"keyset first": f"{since}&page%5Bsize%5D=50&page%5Bafter%5D="}
        pages["keyset deep"] = path.replace("page%5Bsize%5D=1000", "page%5Bsize%5D=50")
        jobs = {name: Job(self.served.url, [page], TOKEN, 1, self.plan.seconds) for name, page in pages.items()}
        return {name: self._rate(job) for name, job in jobs.items()}

    def _export(self) -> Measures:
        """The peak memory of a new service during an export, in MiB."""
        path = f"{LISTS}?filter%5Btime_start_gteq%5D=2100-01-01"
        if not self.served.get(path, "text/csv")[1].startswith("text/csv"):
            raise NotServedError("no Accept: text/csv")
        few, many = self.plan.exported
        return {"export few": lambda: self._peak(few), "export many": lambda: self._peak(many)}

    def _peak(self, records: int) -> float:
        dsn = self.databases.dsn(self.plan.usual)
        statement = "SELECT time_start FROM cdr.cdr WHERE vendor_id = 1 ORDER BY time_start DESC OFFSET %s LIMIT 1"
        found = databases.execute(dsn, statement, records)
        start = found[0][0] if found else datetime.now(UTC) - timedelta(days=3660)
        path = f"{LISTS}?filter%5Btime_start_gteq%5D={start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        with self._alone(programs.service("exporting", dsn, self.logs)) as program:
            return _peak_while(program, lambda: program.drain(path, "text/csv"))

    def _memory(self) -> Measures:
        """The memory in MiB of a new service's largest backend after many look-ups on the largest database."""
        size, plan = self.plan.sizes[-1], self.plan

        def measure() -> float:
            dsn = self.databases.dsn(size)
            with self._alone(programs.service("remembering", dsn, self.logs)) as program:
                begin = time.monotonic()
                for number, path in enumerate(self._shows(size)[: plan.lookups]):
                    assert program.status(path) == 200, f"no {path}: see {program.log}"
                    if time.monotonic() - begin > plan.lookup_seconds:
                        self.say(f"the memory is that after {number + 1} look-ups, which took {plan.lookup_seconds} s")
                        break
                time.sleep(IDLE + 2)  # Until the connections of searches before the first directory are closed.
                return self.databases.backend_memory(dsn)

        return {"memory": measure}

    def _shows(self, size: Size) -> list[str]:
        ids = databases.ids(self.databases.dsn(size))
        return [f"{LISTS}/{id}" for id in ids]

    def _met(self, job: Job) -> Job:
        """The job, after the backends have planned its partitions; the first time is slow."""
        load.finished(load.started(replace(job, seconds=2 * job.seconds)))
        return job

    def _rate(self, job: Job) -> Measure:
        return lambda: self._rated(load.finished(load.started(job)), job)

    def _rated(self, measured: load.Measured, job: Job) -> float:
        if measured.errors:
            self.say(f"{measured.errors} answers of {job.url}{job.paths[0]} were not {job.expected} and do not count")
        self.say(f"half within {measured.p50:.3g} ms, 99 in 100 within {measured.p99:.3g} ms")
        return measured.rate

    def _beside(self, job: Job, other: Job) -> float:
        flood = load.started(other)
        measured = load.finished(load.started(job))
        load.finished(flood)
        return self._rated(measured, job)

    def _running(self, program: Program) -> Program:
        self.stack.callback(program.stop)
        return program

    @contextmanager
    def _alone(self, program: Program) -> Iterator[Program]:
        try:
            yield program
        finally:
            program.stop()


def _peak_while(program: Program, work: Callable[[], object]) -> float:
    """The peak memory of a program during the work."""
    most = program.memory
    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(work)
        while not done.done():
            most = max(most, program.memory)
            time.sleep(0.01)
        done.result()
    return most


def rounds(measures: Mapping[str, Measure], plan: Plan, say: Say) -> dict[str, list[float]]:
    """The values of all measures, round by round."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(plan.rounds):
        for name, measure in measures.items():
            if turn and name in ONCE:
                continue
            values[name].append(measure())
            say(f"round {turn + 1} of {plan.rounds}: {name}: {values[name][-1]:.5g}")
    return values
