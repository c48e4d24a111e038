"""Recordings from a process of the program: what they cost it, and who cannot hold it up."""

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import SECRET, Data
from tests.programs import Program, run, serving
from tests.storage import Storage

PATH = "/api/rest/customer/v1/incoming-cdrs/{}/rec"
SMALL, LONG = os.urandom(2**16), os.urandom(2**20) * 50
MEMORY = 12 * 2**10  # KiB that may come with buffers and allocations, a quarter of the recording.


@pytest.fixture(params=["directory", "s3"])
def settings(request: pytest.FixtureRequest, data: Data, tmp_path: Path, bucket: Storage) -> dict[str, str]:
    """The settings of a service with a small and a long recording."""
    data.customer(7, may_listen=True)
    for number, (tag, body) in enumerate({"8-SMALL": SMALL, "8-LONG": LONG}.items(), 1):
        data.call(number, vendor_id=7, duration=5, audio_recorded=True, local_tag=tag)
        if request.param == "s3":
            bucket.put(f"/record/{tag}.mp3", body)
        else:
            (tmp_path / f"{tag}.mp3").write_bytes(body)
    folder = {"RECORDINGS__MODE": "directory", "RECORDINGS__DIRECTORY": str(tmp_path)}
    known = {
        "DATABASES__CDR__DSN": data.dsn,
        "DATABASES__ROUTING__DSN": data.dsn,
        "AUTH__SECRETS": json.dumps([SECRET]),
    }
    return known | (bucket.settings() if request.param == "s3" else folder)


def token(settings: dict[str, str]) -> str:
    return run(["token", "--api-access", "7"], **settings).stdout.strip()


def most_memory(program: Program) -> int:
    """The most that the process has ever held, in KiB."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def test_a_long_recording_costs_no_more_memory_than_a_short_one(settings: dict[str, str]) -> None:
    with serving(**settings) as program:
        held = []
        for number, body in ((1, SMALL), (2, LONG)):
            request = urllib.request.Request(
                program.url + PATH.format(number), headers={"Authorization": token(settings)}
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                assert response.read() == body
            held.append(most_memory(program))
        print(f"{held[0]} KiB, then {held[1]} KiB")
        assert held[1] - held[0] < MEMORY
        assert program.end(signal.SIGTERM) == 0


def test_a_client_that_takes_nothing_is_cut_off(settings: dict[str, str]) -> None:
    with serving(**settings, RECORDINGS__STALL_TIMEOUT="0.2") as program:
        url = urlsplit(program.url)
        question = f"GET {PATH.format(2)} HTTP/1.1\r\nHost: h\r\nAuthorization: {token(settings)}\r\n\r\n"
        with socket.create_connection((url.hostname, url.port), timeout=30) as client:
            client.sendall(question.encode())
            program.logged("recording broke off")
            taken = 0
            while chunk := client.recv(2**20):
                taken += len(chunk)
            assert 0 < taken < len(LONG)
        assert program.end(signal.SIGTERM) == 0
