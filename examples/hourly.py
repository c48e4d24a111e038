"""A plot of last week: calls, answer-seizure ratio (ASR) and average call duration (ACD) by hour."""

import sys
from datetime import UTC, datetime

import matplotlib as mpl
import pandas as pd
from calls import from_csv, last_week
from cdr_client import Client, run

mpl.use("Agg")  # Draws to files; needs no screen.

from matplotlib import pyplot as plt  # After the backend is selected.


def by_hour(calls: pd.DataFrame) -> pd.DataFrame:
    """Calls, answer-seizure ratio in percent, and average call duration in minutes."""
    answered = calls["success"].fillna(False) & (calls["duration"].fillna(0) > 0)
    known = calls.assign(answered=answered, talked=calls["duration"].where(answered, 0))
    hours = (
        known.set_index("time-start")
        .resample("h")
        .agg(calls=("answered", "size"), answered=("answered", "sum"), talked=("talked", "sum"))
    )
    return hours.assign(
        asr=100 * hours["answered"] / hours["calls"].where(hours["calls"] > 0),
        acd=hours["talked"] / 60 / hours["answered"].where(hours["answered"] > 0),
    )


def draw(hours: pd.DataFrame, path: str) -> None:
    """Draws three plots with a common time axis."""
    figure, rows = plt.subplots(3, 1, sharex=True, figsize=(11, 7), layout="constrained")
    named = (("calls", "calls an hour"), ("asr", "ASR, %"), ("acd", "ACD, minutes"))
    times = hours.index.to_pydatetime()
    for axis, (column, label) in zip(rows, named, strict=True):
        axis.plot(times, hours[column].astype("float64").to_numpy(), linewidth=1.2, marker=".", markersize=4)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    rows[0].set_title("Calls of the last seven days, by hour (UTC)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """`python examples/hourly.py [PNG]` draws the plot and prints the totals."""
    path = sys.argv[1] if len(sys.argv) > 1 else "hourly.png"
    hours = by_hour(from_csv(Client.from_environment(), last_week(datetime.now(UTC))))
    draw(hours, path)
    asr = 100 * hours["answered"].sum() / max(1, hours["calls"].sum())
    acd = hours["talked"].sum() / 60 / max(1, hours["answered"].sum())
    print(f"{hours['calls'].sum()} calls, ASR {asr:.1f} %, ACD {acd:.2f} minutes: {path}")


if __name__ == "__main__":
    run(main)
