"""Prints pip constraints with the lowest versions that setup.cfg allows, for `make test-lowest`."""

import re
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

SETUP = Path(__file__).resolve().parents[1] / "setup.cfg"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])? >=(?P<lowest>[\d.]+)(,|$)")


def constraints(setup: str) -> Iterator[str]:
    """`name==version` for each requirement and extra of a setup.cfg. Raises ValueError without a lower bound."""
    parser = ConfigParser(delimiters=("=",))
    parser.read_string(setup)
    groups = (parser["options"]["install_requires"], *parser["options.extras_require"].values())
    for requirement in sorted({line for group in groups for line in group.split("\n") if line}):
        found = REQUIREMENT.match(requirement)
        if found:
            yield f"{found['name']}=={found['lowest']}"
        elif not requirement.startswith("cdr-api["):
            raise ValueError(f"setup.cfg: {requirement!r} has no lowest version")


if __name__ == "__main__":
    print("\n".join(constraints(SETUP.read_text(encoding="utf-8"))))
