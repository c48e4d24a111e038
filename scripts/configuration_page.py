"""Writes docs/configuration.md from the keys and comments of config/default.toml, for `make docs`."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ROOT / "config" / "default.toml"
PAGE = ROOT / "docs" / "configuration.md"
OPENING = """\
# Configuration

For operators: every setting, its environment variable, its default and what it does.

<!-- Generated from config/default.toml by `make docs`. Edit the comments there. -->

Settings come from three places. The later one wins, key by key:

1. the defaults below, which are the file [config/default.toml](../config/default.toml);
2. a TOML file, named by `--config FILE` or by the environment variable `CDR_API_CONFIG`;
3. the environment variables below.

Defaults are shown as in TOML. In the environment, text has no quotes, `""` is an empty variable, and lists are written
as JSON, for example `CDR_API_AUTH__SECRETS='["..."]'`.

An unknown key or a value that is not valid stops every command with exit code 2 and one line per problem.
`cdr-api config` prints the settings in effect, with secrets and the passwords of DSNs masked.

On a reload (SIGHUP, with more than one worker) new workers read the settings again, except for `listen` and `admin`.
"""
HEADER = "| setting | environment variable | default | meaning |\n|---|---|---|---|"


def page(toml: str) -> str:
    """The page for a settings file in which comments stand above the keys and tables that they explain."""
    return OPENING + "\n".join(_lines(toml)) + "\n"


def _lines(toml: str) -> Iterator[str]:
    table, comment = "", []
    for line in toml.splitlines():
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
            continue
        if section := re.fullmatch(r"\[(.+)\]", line):
            table = section[1]
            yield from ("", f"## `{table}`", "", _escaped(comment), "", HEADER)
        elif setting := re.fullmatch(r"(\w+) = (.+)", line):
            yield _row(f"{table}.{setting[1]}", setting[2], _escaped(comment))
        comment = []


def _row(setting: str, default: str, meaning: str) -> str:
    variable = f"CDR_API_{setting.replace('.', '__').upper()}"
    return f"| `{setting}` | `{variable}` | `{default}` | {meaning} |"


def _escaped(comment: list[str]) -> str:
    return " ".join(comment).replace("<", "&lt;").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(SETTINGS.read_text(encoding="utf-8")), encoding="utf-8")
