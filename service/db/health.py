"""Checks that a database responds and has the required schema."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from service.db.schema_check import SchemaCheck
from service.errors import ApiError
from service.observability import metrics
from service.observability.problem_log import ProblemLog

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class HealthTiming:
    """Timeout of a check, and interval between checks of a schema without problems, in seconds."""

    timeout: float = 2.0
    schema_interval: float = 10.0


class DatabaseHealth:
    """The health of one database. `ping` raises ApiError if it cannot be read. `problems` is shared with its pools."""

    def __init__(
        self,
        name: str,
        ping: Callable[[], Awaitable[object]],
        check: SchemaCheck,
        problems: ProblemLog,
        timing: HealthTiming = HealthTiming(),
    ) -> None:
        self.name = name
        self._ping = ping
        self._check = check
        self._log = problems
        self._timing = timing
        self._checked: float | None = None
        self._schema_problems: list[str] = []
        self._has_answered = False

    async def problems(self) -> list[str]:
        """The current problems of the database, one line each, which names the object but not the address."""
        problem = await self._answers()
        return self._schema_problems if problem is None else [problem]

    async def _answers(self) -> str | None:
        """Pings the database and checks its schema. Returns why it cannot be read, or None."""
        try:
            async with asyncio.timeout(self._timing.timeout):
                await self._ping()
                await self._check_schema()
        except TimeoutError:
            problem = f"did not answer in {self._timing.timeout:g} seconds"
            self._log.failed("connection", "database does not answer", database=self.name, error=problem)
        except ApiError as error:
            problem = str(error)
        else:
            self._answered()
            return None
        metrics.DATABASE_UP.labels(self.name).set(0)
        self._checked = None
        return problem

    def _answered(self) -> None:
        metrics.DATABASE_UP.labels(self.name).set(1)
        ended = self._log.ended("connection", "database answers", database=self.name)
        if not self._has_answered and not ended:
            log.info("database answers", database=self.name)
        self._has_answered = True

    async def _check_schema(self) -> None:
        """Checks the schema if the last check is too old or found problems, which may have been fixed since."""
        now = time.monotonic()
        fresh = self._checked is not None and now - self._checked < self._timing.schema_interval
        if fresh and not self._schema_problems:
            return
        found = await self._check.problems()
        for problem in found:
            if problem not in self._schema_problems:
                log.error("database cannot be used", database=self.name, problem=problem)
        if self._schema_problems and not found:
            log.info("database can be used", database=self.name)
        self._schema_problems, self._checked = found, now
