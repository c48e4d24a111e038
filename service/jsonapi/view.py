"""The parts of records that a response contains."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class View:
    """`fieldsets`: underscored names by type, in the request's order; types without a fieldset show all members.

    `include`: related accounts are included.
    """

    fieldsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    include: bool = False
