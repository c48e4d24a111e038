"""Paths of the data files of the package.

In a checkout, `service/data` contains symbolic links to the folders `sql` and `config`; a wheel contains copies.
"""

from importlib.resources import files
from pathlib import Path

DATA = Path(str(files("service"))) / "data"
SQL = DATA / "sql"
DEFAULT_SETTINGS = DATA / "config" / "default.toml"
DOCS = DATA / "config" / "docs"
