"""What a backend of PostgreSQL has in its caches: tables that it has planned, and prepared statements.

A backend never frees the metadata of a table, but the plan of a prepared statement by DEALLOCATE.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from service.db.statement import Statement

PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Plan:
    """A prepared statement. `execute`: the statement that executes it. `size`: in plans of one partition.

    `search`: it is a search, whose plan is removed if others need the room, not a look-up in one partition.
    """

    name: str
    execute: str
    size: int
    search: bool


class BackendCache:
    """`max_plans`: prepared statements. `max_size`: tables and plans of one partition, above which none is prepared."""

    def __init__(self, max_plans: int, max_size: int) -> None:
        self._max_plans = max_plans
        self._max_size = max_size
        self._known: set[str] = set()  # Texts of look-ups that have been executed.
        self.plans: dict[str, Plan] = {}  # By text, in order of their last use.
        self.partitions: set[int] = set()  # Partitions that were planned by other statements.

    @property
    def size(self) -> int:
        """The number of tables and plans, large plans as several."""
        return len(self._known) + sum(plan.size for plan in self.plans.values()) + len(self.partitions)

    def has_seen(self, text: str) -> bool:
        """True if the backend has prepared the repeated statement, or has the table of the look-up in its cache."""
        return text in self._known or text in self.plans

    def executable(self, statement: Statement, *, prepare: bool) -> str:
        """PREPARE and EXECUTE, then only EXECUTE; the text itself at the first use of a look-up, or without room.

        `prepare`: statements can be prepared here.
        """
        text, size, search = statement.text, _plan_size(statement), bool(statement.partitions)
        if text in self.plans:
            self.plans[text] = self.plans.pop(text)  # The last one is the last used.
            return self.plans[text].execute
        first = not search and text not in self._known
        if first:
            self._known.add(text)
        freed = self._make_room(0 if first else size) if prepare else None
        if first or freed is None:
            return (freed or "") + text
        name, (body, arguments) = _name(text), numbered(text)
        self.plans[text] = Plan(name, f"EXECUTE {name} {arguments}", size, search)
        return f"{freed}PREPARE {name} AS {body}; {self.plans[text].execute}"

    def _make_room(self, size: int) -> str | None:
        """Removes the plans of searches that were not used for the longest time; returns the statements for it.

        None if a plan of `size` would not fit in without all of them; then none is removed.
        """
        removed: dict[str, Plan] = {}
        cached = self.size + size
        for text, plan in self.plans.items():
            if cached <= self._max_size and len(self.plans) - len(removed) < self._max_plans:
                break
            if plan.search:
                removed[text] = plan
                cached -= plan.size
        if cached > self._max_size or len(self.plans) - len(removed) >= self._max_plans:
            return None
        for text in removed:
            del self.plans[text]
        return "".join(f"DEALLOCATE {plan.name}; " for plan in removed.values())


@lru_cache(4096)
def numbered(text: str) -> tuple[str, str]:
    """A statement with `$1` for `%(name)s` for PREPARE, and the arguments for EXECUTE."""
    names = list(dict.fromkeys(PARAMETER.findall(text)))
    body = PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", text)
    return body, f"({', '.join(f'%({name})s' for name in names)})" if names else ""


@lru_cache(4096)
def _name(text: str) -> str:
    """The name of a prepared statement: a digest, so that even in a shared session a name means one statement."""
    return f"cdr_api_{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def _plan_size(statement: Statement) -> int:
    """The size of a plan in plans of one partition. Each further partition adds about a third, 35 to 40 KiB."""
    return 1 + len(statement.partitions) // 3
