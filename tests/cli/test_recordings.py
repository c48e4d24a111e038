"""Recordings from a process: memory, and slow clients that do not delay others."""

import json
import os
import signal
import socket
import struct
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.auth.tokens import TokenService
from tests.conftest import SECRET, Data
from tests.programs import Program, on_database, serving
from tests.storage import Storage

PATH = "/api/rest/customer/v1/incoming-cdrs/{}/rec"
SMALL, LONG = os.urandom(2**16), os.urandom(2**20) * 50
TOKEN = TokenService([SECRET.encode()], None).issue(7)
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
    known = on_database(data.dsn, AUTH__SECRETS=json.dumps([SECRET]))
    return known | (bucket.settings() if request.param == "s3" else folder)


def most_memory(program: Program) -> int:
    """The most that the process has ever held, in KiB."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def test_a_long_recording_costs_no_more_memory_than_a_short_one(settings: dict[str, str]) -> None:
    with serving(**settings) as program:
        held = []
        for number, body in ((1, SMALL), (2, LONG)):
            request = urllib.request.Request(program.url + PATH.format(number), headers={"Authorization": TOKEN})
            with urllib.request.urlopen(request, timeout=60) as response:
                assert response.read() == body
            held.append(most_memory(program))
        print(f"{held[0]} KiB, then {held[1]} KiB")
        assert held[1] - held[0] < MEMORY
        assert program.end(signal.SIGTERM) == 0


def test_clients_that_leave_are_no_defect_and_keep_nobody_waiting(settings: dict[str, str]) -> None:
    one_place = {"RECORDINGS__S3__POOL_SIZE": "1"} if settings["RECORDINGS__MODE"] == "s3" else {}
    with serving(**settings, **one_place) as program:
        for number in range(1, 4):
            with asking(program) as client:
                assert client.recv(1000)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # Leaves by a reset.
            program.logged("response truncated", times=number)
        with asking(program) as client:
            taken = 0
            while taken < len(LONG):
                taken += len(client.recv(2**20))
        assert program.end(signal.SIGTERM) == 0
        assert {event["event"] for event in program.events} >= {"listening", "stopping"}
        assert not [event for event in program.events if event["level"] == "error"]


def asking(program: Program) -> socket.socket:
    """A connection on which the long recording has been asked for."""
    url = urlsplit(program.url)
    client = socket.create_connection((url.hostname, url.port), timeout=30)
    question = f"GET {PATH.format(2)} HTTP/1.1\r\nHost: h\r\nAuthorization: {TOKEN}\r\n\r\n"
    client.sendall(question.encode())
    return client


def test_a_client_that_takes_nothing_is_cut_off(settings: dict[str, str]) -> None:
    with serving(**settings, LISTEN__WRITE_TIMEOUT="0.2") as program:
        with asking(program) as client:
            program.logged("response truncated")
            with pytest.raises(ConnectionResetError):
                b"".join(iter(lambda: client.recv(2**20), b""))
            line = program.logged("request")
            assert (line["status"], line["whole"]) == (499, False)
            assert 0 < int(line["bytes"]) < len(LONG)
        assert program.end(signal.SIGTERM) == 0
        assert not [event for event in program.events if event["level"] == "error"]


@pytest.mark.slow
def test_a_client_that_reads_slowly_is_not_cut_off(settings: dict[str, str]) -> None:
    """It takes 32 KiB a second, and a MiB in twice the time limit; on loopback its window opens by some 128 KiB."""
    with serving(**settings, LISTEN__WRITE_TIMEOUT="15") as program:
        with asking(program) as client:
            for _ in range(50):
                assert client.recv(32768, socket.MSG_WAITALL)
                time.sleep(1)
            assert "response truncated" not in [event["event"] for event in program.events]
        assert program.end(signal.SIGTERM) == 0
        assert program.logged("request")["whole"] is False
