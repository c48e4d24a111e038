"""What of each record a response shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class View:
    """`fieldsets` holds underscored names by type, in the client's order; a type without one shows everything.

    `include`: the accounts that records point to are shown as well.
    """

    fieldsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    include: bool = False
