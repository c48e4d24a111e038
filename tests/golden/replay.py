#!/usr/bin/env python3
"""Replay recorded requests against a running service and compare the answers.

  replay.py --base-url http://127.0.0.1:8080 --golden golden_dev.jsonl --tokens tokens.json

Every line of the golden file is one request. Headers are sent exactly as
written; a header value {"token": NAME, "format": TEXT} stands for TEXT (default
"{}") with "{}" replaced by the compact token of that name. Compared are the
status, the body bytes, and the headers named in "response_headers" (null means
the header must be absent). An entry with "expect" fixes only the status and, if
given, the code of the first error. Exit status 1 if anything failed.
"""

import argparse, collections, hashlib, http.client, json, queue, sys, threading, time
from urllib.parse import urlsplit


def load(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


class Client:
    def __init__(self, host, port, timeout):
        self.args, self.timeout, self.conn = (host, port), timeout, None

    def send(self, method, path, headers):
        for attempt in (1, 2):
            if self.conn is None:
                self.conn = http.client.HTTPConnection(*self.args, timeout=self.timeout)
            try:
                c = self.conn
                c.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers:
                    c.putheader(name, value.encode("utf-8"))
                c.endheaders()
                r = c.getresponse()
                body = r.read()
                got = {}
                for name, value in r.getheaders():
                    name = name.lower()
                    got[name] = got[name] + ", " + value if name in got else value
                return r.status, got, body
            except (http.client.HTTPException, OSError):
                self.conn.close()
                self.conn = None
                if attempt == 2:
                    raise


def headers_of(entry, tokens):
    out = []
    for name, value in entry["headers"].items():
        if isinstance(value, dict):
            value = value.get("format", "{}").replace("{}", tokens[value["token"]]["token"])
        out.append((name, value))
    return out


def short(b, limit=160):
    return b[:limit].decode("utf-8", "replace") + ("..." if len(b) > limit else "")


def first_difference(want, got):
    n = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
    start = max(0, n - 40)
    return "body differs at byte %d (want %d bytes, got %d): want ...%s | got ...%s" % (
        n,
        len(want),
        len(got),
        short(want[start:], 110),
        short(got[start:], 110),
    )


def compare(entry, status, headers, body, reference):
    """The list of what is wrong, empty if the answer is as wanted."""
    bad = []
    if reference and "reference_status" in entry:
        if status != entry["reference_status"]:
            bad.append("status want %s got %s" % (entry["reference_status"], status))
        elif "reference_body" in entry and body != entry["reference_body"].encode("utf-8"):
            bad.append(first_difference(entry["reference_body"].encode("utf-8"), body))
        elif "reference_body_sha256" in entry and hashlib.sha256(body).hexdigest() != entry["reference_body_sha256"]:
            bad.append("body is not the reference's")
        return bad
    if "expect" in entry:
        want = entry["expect"]
        if status != want["status"]:
            bad.append("status want %s got %s: %s" % (want["status"], status, short(body)))
        elif "code" in want:
            try:
                code = json.loads(body)["errors"][0]["code"]
            except (ValueError, KeyError, IndexError, TypeError):
                code = None
            if code != want["code"]:
                bad.append("code want %s got %s: %s" % (want["code"], code, short(body)))
        return bad
    if status != entry["status"]:
        return [
            "status want %s got %s: want %s | got %s"
            % (entry["status"], status, short(entry["body"].encode("utf-8")), short(body))
        ]
    want = entry["body"].encode("utf-8")
    if body != want:
        bad.append(first_difference(want, body))
    named = dict(entry.get("response_headers", {}))
    if reference:
        named.update(entry.get("reference_response_headers", {}))
    for name, value in named.items():
        if headers.get(name) != value:
            if name == "etag" and body != want:
                continue
            bad.append("%s want %r got %r" % (name, value, headers.get(name)))
    return bad


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--base-url", required=True)
    ap.add_argument("--golden", required=True)
    ap.add_argument("--tokens", required=True)
    ap.add_argument("--only", action="append", default=[], metavar="CATEGORY", help="repeatable")
    ap.add_argument("--skip", action="append", default=[], metavar="CATEGORY", help="repeatable")
    ap.add_argument("--report", metavar="FILE", help="write all results as JSON")
    ap.add_argument("--workers", type=int, default=4, choices=range(1, 5))
    ap.add_argument("--timeout", type=float, default=30.0)
    ap.add_argument(
        "--reference",
        action="store_true",
        help="judge entries with a deliberate difference by what the reference answered",
    )
    a = ap.parse_args()
    url = urlsplit(a.base_url)
    if url.scheme != "http" or not url.hostname:
        ap.error("--base-url must be http://HOST:PORT")
    with open(a.tokens, encoding="utf-8") as f:
        tokens = json.load(f)["tokens"]
    entries = [e for e in load(a.golden) if (not a.only or e["category"] in a.only) and e["category"] not in a.skip]
    todo, results, lock = queue.Queue(), {}, threading.Lock()
    for e in entries:
        todo.put(e)

    def worker():
        client = Client(url.hostname, url.port or 80, a.timeout)
        while True:
            try:
                e = todo.get_nowait()
            except queue.Empty:
                return
            try:
                bad = compare(e, *client.send(e["method"], e["path"], headers_of(e, tokens)), a.reference)
            except Exception as ex:  # a broken answer must not end the run
                bad = ["no usable answer: %s: %s" % (type(ex).__name__, ex)]
            with lock:
                results[e["id"]] = bad

    began = time.monotonic()
    threads = [threading.Thread(target=worker, daemon=True) for _ in range(a.workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took = time.monotonic() - began

    passed, failed, shown = collections.Counter(), collections.Counter(), collections.Counter()
    for e in entries:
        cat, bad = e["category"], results[e["id"]]
        if not bad:
            passed[cat] += 1
            continue
        failed[cat] += 1
        if shown[cat] < 20:
            shown[cat] += 1
            print(
                "FAIL %s%s %s %s: %s"
                % (
                    e["id"],
                    " [%s]" % e["difference"] if "difference" in e else "",
                    e["method"],
                    e["path"],
                    "; ".join(bad),
                )
            )
    print()
    for cat in sorted(set(passed) | set(failed)):
        print("%-24s %5d passed %5d failed" % (cat, passed[cat], failed[cat]))
    if a.report:
        with open(a.report, "w", encoding="utf-8") as f:
            json.dump(
                {
                    "seconds": round(took, 3),
                    "passed": sum(passed.values()),
                    "failed": sum(failed.values()),
                    "categories": {
                        c: {"passed": passed[c], "failed": failed[c]} for c in sorted(set(passed) | set(failed))
                    },
                    "failures": {i: b for i, b in results.items() if b},
                },
                f,
                indent=1,
                ensure_ascii=False,
            )
    print("%.1f s" % took)
    print("%d passed, %d failed" % (sum(passed.values()), sum(failed.values())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
