"""Where the files that belong to the program lie: beside the source, or where an installation has put them."""

import sys
from pathlib import Path

_SOURCE = Path(__file__).resolve().parent.parent
ROOT = _SOURCE if (_SOURCE / "sql").is_dir() else Path(sys.prefix) / "share" / "cdr-api"
SQL = ROOT / "sql"
DEFAULT_SETTINGS = ROOT / "config" / "default.toml"
DOCS = ROOT / "config" / "docs"
