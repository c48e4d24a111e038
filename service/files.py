"""Where the files that belong to the program are.

In a checkout `service/data` links to the folders `sql` and `config`; a wheel holds copies of what they link to, so the
files are found wherever the package is.
"""

from importlib.resources import files
from pathlib import Path

DATA = Path(str(files("service"))) / "data"
SQL = DATA / "sql"
DEFAULT_SETTINGS = DATA / "config" / "default.toml"
DOCS = DATA / "config" / "docs"
