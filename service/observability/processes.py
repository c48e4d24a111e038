"""The process_* metrics of several processes."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from prometheus_client import Metric, ProcessCollector
from prometheus_client.registry import Collector


class WorkersCollector(Collector):
    """The process_* metrics of the main process and of each worker, with the label `pid`.

    `folder` contains a file of gauges for each running process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for pid in sorted({file.stem.rpartition("_")[2] for file in self._folder.glob("gauge_live*.db")}):
            for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                same = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    same.add_sample(sample.name, {"pid": pid}, sample.value)
        yield from merged.values()
