"""Compares measured values with targets: as a Markdown table, and as a picture for docs/performance.md."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import PEERS

Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Row:
    """One row: the ratio of two measurements, or one measurement without `to`, and its target."""

    what: str
    of: str
    to: str | None
    bound: float
    at_most: bool = False
    unit: str = "x"

    @property
    def target(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g} {self.unit}"


@dataclass(frozen=True)
class Result:
    """A row with the ratios of its rounds; empty if the feature is missing."""

    row: Row
    ratios: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        return self.median <= self.row.bound if self.row.at_most else self.median >= self.row.bound

    @property
    def verdict(self) -> str:
        if not self.ratios:
            return "not served"
        return "yes" if self.reached else "no"


def rows(sizes: Sequence[int], peers: bool) -> list[Row]:
    """The table of targets. Rates are responses per second; `sizes` are numbers of partitions."""
    least, most = _usual(sizes), sizes[-1]
    found = [
        Row("show, concurrency 16: service / bare handler", "show service", "show bare", 0.25),
        Row("show, concurrency 16: service / naive app", "show service", "show naive", 30),
        Row(f"show: cost at {most} / at {least} partitions", f"show of {least}", f"show of {most}", 1.3, at_most=True),
        Row(
            f"memory of the largest backend after 1,000 look-ups, {most} partitions",
            "memory",
            None,
            40,
            at_most=True,
            unit="MiB",
        ),
        Row("list of 50 in 24 h: service / naive app", "list 50 service", "list 50 naive", 12),
        Row("list of 1,000: service / naive app", "list 1000 service", "list 1000 naive", 1),
        Row("render 1,000 records: compiled / dumped", "render compiled", "render dumped", 0.07, at_most=True),
        Row("keyset page: cost in the depth / at the beginning", "keyset first", "keyset deep", 2, at_most=True),
        Row("export: peak memory, many / few records", "export many", "export few", 1.2, at_most=True),
        Row("show, concurrency 16: 2 workers / 1 worker", "show two workers", "show service", 1.4),
        Row("show beside a flood of unknown ids / without it", "known flooded", "known alone", 0.5),
    ]
    found += [
        Row(
            f"statistics of {days} by {sampling}: service / the same SQL alone", *_compared(sampling), 1.3, at_most=True
        )
        for days, sampling in (("24 hours", "hour"), ("30 days", "day"))
    ]
    found += [
        Row("statistics of 30 days: second / first opening", "statistics reopened", None, 0.1, at_most=True),
        Row("login: beyond what bcrypt takes", "login overhead", None, 2, at_most=True, unit="ms"),
        Row("show beside 50 logins at once / without", "show beside logins", "show without logins", 0.5),
    ]
    for name in PEERS if peers else ():
        found += [
            Row(f"show, concurrency 16: service / {name}", "show service", f"show {name}", 8),
            Row(f"list of 50: service / {name}", "list 50 service", f"list 50 {name}", 3),
            Row(f"list of 1,000: service / {name}", "list 1000 service", f"list 1000 {name}", 3),
        ]
    return found


def _compared(sampling: str) -> tuple[str, str]:
    return f"statistics by {sampling} service", f"statistics by {sampling} SQL"


def results(table: Sequence[Row], values: Values) -> list[Result]:
    """The ratios within each round. Targets apply to their medians."""
    return [Result(row, _ratios(row, values)) for row in table]


def markdown(found: Sequence[Result], heading: str) -> str:
    lines = [heading, "", "| what | measured | spread | target | reached |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, found)]) + "\n"


def rates(values: Values) -> str:
    """A table of the measured values."""
    lines = ["| measure | median | spread |", "|---|---|---|"]
    for name, measured in values.items():
        spread = f"{min(measured):.4g} to {max(measured):.4g}"
        lines.append(f"| {name} | {statistics.median(measured):.4g} | {spread} |")
    return "\n".join(lines) + "\n"


def plot(found: Sequence[Result], path: Path) -> None:
    """Plots measured values relative to their targets: 1 is the target, more is better."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    served = [result for result in reversed(found) if result.ratios]
    times = [[_times(result.row, ratio) for ratio in result.ratios] for result in served]
    middles = [statistics.median(group) for group in times]
    spread = [[m - min(group) for m, group in zip(middles, times, strict=True)]]
    spread += [[max(group) - m for m, group in zip(middles, times, strict=True)]]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.36 * len(served)), layout="constrained")
    colors = ["#2a7f62" if result.reached else "#c0504d" for result in served]
    axes.barh([result.row.what for result in served], middles, xerr=spread, color=colors, ecolor="#555555", capsize=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times the target (1 is the target, the right is better)")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _usual(sizes: Sequence[int]) -> int:
    return 130 if 130 in sizes else sizes[0]


def _ratios(row: Row, values: Values) -> list[float]:
    names = [name for name in (row.of, row.to) if name]
    if not all(values.get(name) for name in names):
        return []
    if row.to is None:
        return list(values[row.of])
    return [a / b for a, b in zip(values[row.of], values[row.to], strict=False)]


def _times(row: Row, ratio: float) -> float:
    return row.bound / max(ratio, 1e-9) if row.at_most else ratio / row.bound


def _line(result: Result) -> str:
    row = result.row
    if not result.ratios:
        return f"| {row.what} | - | - | {row.target} | {result.verdict} |"
    spread = f"{min(result.ratios):.3g} to {max(result.ratios):.3g}"
    return f"| {row.what} | {result.median:.3g} {row.unit} | {spread} | {row.target} | {result.verdict} |"
