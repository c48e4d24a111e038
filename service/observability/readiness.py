"""The parts that a process needs to serve requests, and their problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One part and its problems, one line each. Requests are served without parts that are not `required`."""

    problems: Sequence[str] = ()
    required: bool = True


def reasons(parts: Mapping[str, Part]) -> list[str]:
    """Why requests should not be sent here; empty if they should."""
    return [f"{name}: {problem}" for name, part in parts.items() if part.required for problem in part.problems]
