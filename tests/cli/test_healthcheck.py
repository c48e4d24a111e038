"""`cdr-api healthcheck`, run as a container's health check: exit code 0 or 1, and one line with the reason."""

import signal
import socket

from tests.programs import called, free_port, on_database, run, serving

NOWHERE = "host=127.0.0.1 port=1 connect_timeout=1"
SETTINGS = on_database(NOWHERE, AUTH__SECRETS=f'["{"x" * 32}"]', ADMIN__PORT="")


def test_a_service_is_healthy_without_its_databases_and_not_once_it_has_ended() -> None:
    port = str(free_port())
    with serving(**SETTINGS, LISTEN__PORT=port) as program:
        program.logged("listening")
        healthy = run(["healthcheck"], LISTEN__PORT=port)
        assert (healthy.returncode, healthy.stdout) == (0, f"127.0.0.1:{port} answers: 404\n")
        assert program.end(signal.SIGTERM) == 0
    ended = run(["healthcheck"], LISTEN__PORT=port)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"cdr-api: 127.0.0.1:{port} does not answer: Connection refused\n"


def test_a_service_that_listens_on_every_address_is_asked_on_loopback() -> None:
    port = str(free_port())
    with serving(**SETTINGS, LISTEN__PORT=port, LISTEN__HOST="0.0.0.0") as program:
        program.logged("listening")
        assert called(["healthcheck"], LISTEN__PORT=port, LISTEN__HOST="0.0.0.0").returncode == 0


def test_what_does_not_speak_http_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # The kernel accepts; nobody ever answers.
        port = str(listener.getsockname()[1])
        silent = called(["healthcheck"], LISTEN__PORT=port)
    assert silent.returncode == 1
    assert silent.stderr == f"cdr-api: 127.0.0.1:{port} does not answer: timed out\n"


def test_a_port_that_is_not_known_cannot_be_asked() -> None:
    asked = called(["healthcheck"], LISTEN__PORT="0")
    assert asked.returncode == 2
    assert asked.stderr.startswith("cdr-api: listen.port: must not be 0")
