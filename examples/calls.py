"""Last week's calls as a pandas DataFrame, from one export or from pages by cursors."""

import sys
from datetime import UTC, datetime, timedelta

import pandas as pd
from cdr_client import Client, run

TYPE = "incoming-cdrs"
FIELDS = "time-start,duration,success,vendor-price,legb-disconnect-code,dst-prefix-out"


def last_week(now: datetime) -> dict[str, str]:
    """The parameters of the seven whole days before today, UTC."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "filter[time_start_gteq]": f"{today - timedelta(days=7):%Y-%m-%d}",
        "filter[time_start_lt]": f"{today:%Y-%m-%d}",
        f"fields[{TYPE}]": FIELDS,
        "sort": "time-start",
    }


def from_csv(client: Client, parameters: dict[str, str]) -> pd.DataFrame:
    """One request for any number of calls."""
    with client.export(TYPE, parameters) as response:
        return typed(pd.read_csv(response, dtype=str))


def from_pages(client: Client, parameters: dict[str, str]) -> pd.DataFrame:
    """One request per thousand calls; an interrupted client can continue from the last cursor."""
    calls = pd.DataFrame(client.records(TYPE, parameters), columns=["id", *FIELDS.split(",")])
    return typed(calls.astype("string"))


def typed(calls: pd.DataFrame) -> pd.DataFrame:
    """Converts text to times, numbers and booleans."""
    return calls.assign(
        **{
            "id": calls["id"].astype("int64"),
            "time-start": pd.to_datetime(calls["time-start"], utc=True),
            "duration": pd.to_numeric(calls["duration"]).astype("Int64"),
            "success": calls["success"].str.lower().map({"true": True, "false": False}).astype("boolean"),
            "vendor-price": pd.to_numeric(calls["vendor-price"]).astype("Float64"),
            "legb-disconnect-code": pd.to_numeric(calls["legb-disconnect-code"]).astype("Int64"),
        }
    ).set_index("id")


def main() -> None:
    """`python examples/calls.py [csv|pages]` prints the calls of each day."""
    read = {"csv": from_csv, "pages": from_pages}.get(sys.argv[1] if len(sys.argv) > 1 else "csv")
    if read is None:
        sys.exit("usage: python examples/calls.py [csv|pages]")
    calls = read(Client.from_environment(), last_week(datetime.now(UTC)))
    days = calls.groupby(calls["time-start"].dt.date)
    print(days.agg(calls=("success", "size"), answered=("success", "sum"), price=("vendor-price", "sum")).to_string())
    print(f"{len(calls)} calls, {int(calls['duration'].sum())} seconds")


if __name__ == "__main__":
    run(main)
