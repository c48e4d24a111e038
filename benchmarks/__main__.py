"""`python -m benchmarks`: creates databases, runs all measurements, and writes a table and a picture."""

import argparse
import os
import platform
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import report
from benchmarks.databases import OPTIONS, Databases, Size
from benchmarks.measures import Bench, Plan, rounds
from benchmarks.programs import StartError
from service.demo.postgres import EmbeddedPostgresError

FULL_130 = Size(130, 18_000, 40_000)  # Three million calls.
QUICK_130 = Size(130, 2_000)
PLANS = {
    "full": Plan(
        sizes=(Size(30, 2_000), FULL_130, Size(1000, 20), Size(3650, 20)),
        usual=FULL_130,
        seconds=4,
        rounds=3,
        lookups=1000,
        lookup_seconds=60,
        depth=500_000,
        exported=(10_000, 1_000_000),
    ),
    "quick": Plan(
        sizes=(Size(30, 2_000), QUICK_130, Size(1000, 20)),
        usual=QUICK_130,
        seconds=0.8,
        rounds=1,
        lookups=1000,
        lookup_seconds=5,
        depth=50_000,
        exported=(10_000, 100_000),
    ),
}
FOLDER = Path(__file__).parent
KEPT = FOLDER.parent / ".bench"


def main(words: list[str] | None = None) -> int:
    options = _options(words)
    plan, into = PLANS["quick" if options.quick else "full"], Path(options.into or (KEPT if options.quick else FOLDER))
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that started processes are stopped too.
    with ExitStack() as stack:
        databases = stack.enter_context(Databases.open(KEPT / "postgres", _say, OPTIONS))
        bench = Bench(databases, KEPT / "logs", plan, _say, stack, options.peers)
        values = rounds(bench.measures(), plan, _say)
    found = report.results(report.rows([size.days for size in plan.sizes], bool(options.peers)), values)
    table = report.markdown(found, _heading(plan, time.monotonic() - begin))
    (into / "results.md").write_text(f"{table}\n{report.rates(values)}", encoding="utf-8")
    report.plot(found, into / "results.png")
    print(f"\n{table}\n{report.rates(values)}\nwritten to {into / 'results.md'} and {into / 'results.png'}")
    return 0


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller databases and one short round, for development")
    parser.add_argument("--into", help="folder of results.md and results.png (default: this one, with --quick .bench)")
    peers = "also measure the peers in this folder; it must be a writable copy in which its own setup.sh has run"
    parser.add_argument("--peers", type=Path, metavar="DIR", help=peers)
    return parser.parse_args(words)


def _heading(plan: Plan, seconds: float) -> str:
    machine = f"Python {platform.python_version()}, {platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    return (
        f"{machine} shared by load generator, servers and PostgreSQL; medians of {plan.rounds} interleaved rounds of"
        f" {plan.seconds:g} s; {seconds / 60:.0f} minutes in all."
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (EmbeddedPostgresError, StartError) as problem:
        raise SystemExit(str(problem)) from problem
