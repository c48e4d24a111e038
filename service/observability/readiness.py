"""What a process needs to serve, part by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One part and its problems, each in one line. Without a part that is not `required`, requests
    are served all the same.
    """

    problems: Sequence[str] = ()
    required: bool = True


def reasons(parts: Mapping[str, Part]) -> list[str]:
    """Why requests should not be sent here; empty if they should."""
    return [f"{name}: {problem}" for name, part in parts.items() if part.required for problem in part.problems]
