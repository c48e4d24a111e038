"""Benchmarks of bulk reads: memory and first byte of exports by size, and cursor pages by depth.

`python -m benchmarks.bulk [ROWS]` starts a separate PostgreSQL with that many calls of one customer (default: a
million) and `cdr-api serve` as a process, and prints the measurements. Linux only: it reads /proc.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import Request, urlopen

import psycopg2

from service.auth.tokens import DynamicClaims, TokenService
from service.db import schema
from service.demo.postgres import Server
from service.files import SQL

DAYS, CUSTOMER, SMALL = 10, 7, 10_000
SECRET = "a secret for benchmarks, of more than 32 bytes"
API = "/api/rest/customer/v1/incoming-cdrs"
REPEATS = 60

CALLS = """
INSERT INTO cdr.cdr (
    id, time_start, time_connect, time_end, duration, success, vendor_id, vendor_acc_id, customer_id, is_last_cdr,
    dialpeer_initial_interval, dialpeer_initial_rate, dialpeer_next_interval, dialpeer_next_rate, dialpeer_fee,
    dialpeer_prefix, vendor_price, vendor_duration, src_name_out, src_prefix_out, dst_prefix_out, src_prefix_routing,
    dst_prefix_routing, local_tag, legb_disconnect_code, legb_disconnect_reason, sign_term_ip, sign_term_port,
    sign_term_transport_protocol_id, term_call_id, legb_user_agent
)
SELECT n, start, start + interval '7 seconds', start + interval '67 seconds', 60, true, %(customer)s, 71, 8, true,
       60, 0.0125, 1, 0.0125, 0, '380', 0.0125, 60, 'caller ' || n, '12025550100', '380441234567', '12025550100',
       '380441234567', '8-' || md5(n::text), 200, 'Bye', '192.0.2.7', 5060, 1, md5(n::text) || '@192.0.2.1', 'X/1.0'
  FROM generate_series(1, %(rows)s) AS n
 CROSS JOIN LATERAL (SELECT %(first)s + n * (interval '1 day' * %(days)s / (%(rows)s + 1)) AS start)
"""


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    with tempfile.TemporaryDirectory() as folder, Server.start(Path(folder)) as postgres:
        dsn = postgres.dsn()
        fill(dsn, first, rows)
        bound = (
            f"filter[time_start_gteq]={first:%Y-%m-%d}&filter[time_start_lt]={first + timedelta(days=DAYS):%Y-%m-%d}"
        )
        export = f"{API}?{bound}".replace("[", "%5B").replace("]", "%5D")
        peaks = {}
        for name, query in ((f"{SMALL}", f"&filter%5Bid_lteq%5D={SMALL}&sort=id"), (f"{rows}", "")):
            for form in ("csv", "ndjson"):
                with serving(dsn) as (url, process):
                    seen = download(f"{url}{export}{query}&format={form}")
                    peaks[form, name] = peak(process)
                    print(
                        f"export of {seen['rows']:>9} as {form:6}: first byte {1000 * seen['first']:6.1f} ms, "
                        f"{seen['rows'] / seen['whole']:7.0f} rows/s, peak memory {peaks[form, name]:6.1f} MiB"
                    )
        for form in ("csv", "ndjson"):
            ratio = peaks[form, str(rows)] / peaks[form, str(SMALL)]
            print(f"peak memory, {rows} rows / {SMALL} rows, {form}: {ratio:.3f}")
        with serving(dsn) as (url, _):
            walk(f"{url}{export}", rows // 2)


def fill(dsn: str, first: datetime, rows: int) -> None:
    for part in ("cdr", "routing"):
        schema.apply(dsn, SQL / "schema" / part)
    schema.create_partitions(dsn, first.date(), first.date() + timedelta(days=DAYS))
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(CALLS, {"rows": rows, "first": first, "days": DAYS, "customer": CUSTOMER})
        cursor.execute(
            "INSERT INTO public.contractors (id, name, enabled, vendor, customer) VALUES (7, 'v', true, true, true)"
        )
        cursor.execute("INSERT INTO sys.customer_portal_access_profiles (id, name) VALUES (1, 'Default')")
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE cdr.cdr")


@contextmanager
def serving(dsn: str) -> Iterator[tuple[str, int]]:
    """Starts the service. Yields its URL and process id."""
    known = {"DATABASES__CDR__DSN": dsn, "DATABASES__ROUTING__DSN": dsn, "AUTH__SECRETS": json.dumps([SECRET])}
    known |= {"LISTEN__PORT": "0", "LOG__FORMAT": "json", "LISTEN__WRITE_TIMEOUT": "600"}
    environment = os.environ | {f"CDR_API_{name}": value for name, value in known.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield (
            next(event["url"] for line in process.stderr or () if (event := json.loads(line))["event"] == "listening"),
            process.pid,
        )
    finally:
        process.terminate()
        process.communicate()


def get(url: str) -> Any:
    token = TokenService([SECRET.encode()], None).issue(DynamicClaims(CUSTOMER))
    return urlopen(Request(url, headers={"Authorization": token, "Accept": "*/*"}), timeout=600)


def download(url: str) -> dict[str, float]:
    """The seconds to the first and to the last byte, and the number of rows."""
    get(f"{url.split('?')[0]}?page[size]=1").read()
    started, lines = time.perf_counter(), 0
    with get(url) as response:
        lines += response.read(1) == b"\n"
        first = time.perf_counter() - started
        while piece := response.read(65536):
            lines += piece.count(b"\n")
    return {"first": first, "whole": time.perf_counter() - started, "rows": lines - ("csv" in url)}


def peak(process: int) -> float:
    """The peak resident set size in MiB."""
    text = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM"))


def walk(url: str, depth: int) -> None:
    """Prints durations of pages of 50: by cursor at the start and at a depth, and by number at this depth."""
    record = json.load(get(f"{url}&filter%5Bid_eq%5D={depth}&page%5Bafter%5D="))["data"][0]
    cursor = record["meta"]["page"]["cursor"]
    pages = {
        "page by cursor at depth 0": f"{url}&page%5Bafter%5D=",
        f"page by cursor at depth {depth}": f"{url}&page%5Bafter%5D={cursor}",
        f"page back by cursor at depth {depth}": f"{url}&page%5Bbefore%5D={cursor}",
    }
    numbered = f"{url}&page%5Bnumber%5D={depth // 50 + 1}"
    taken: dict[str, list[float]] = {name: [] for name in pages}
    for _ in range(REPEATS):  # In turn, so that other load on the machine affects all of them.
        for name, address in pages.items():
            taken[name].append(timed(address))
    base = median(next(iter(taken.values())))
    for name, seconds in taken.items():
        print(f"{name}: {1000 * median(seconds):.2f} ms, {median(seconds) / base:.2f} of the first")
    print(f"page by number at depth {depth}: {1000 * median(timed(numbered) for _ in range(3)):.0f} ms")


def timed(url: str) -> float:
    started = time.perf_counter()
    get(url).read()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
