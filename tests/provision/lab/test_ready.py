"""Who answers SSH, and who only listens."""

import socket
import threading
from collections.abc import Iterator

import pytest

from provision.lab import ready


@pytest.fixture
def greeter(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A server on SSH's port of an address nobody else has, that says what the test puts into the list."""
    greeting = [b""]
    with socket.create_server(("127.77.0.9", 0)) as server:
        monkeypatch.setattr(ready, "SSH_PORT", server.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(greeting[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield greeting
        server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=10)


def test_a_greeting_is_an_answer(greeter: list[bytes]) -> None:
    greeter[0] = b"SSH-2.0-OpenSSH_9.2\r\n"
    assert ready.answers_ssh("127.77.0.9")
    assert ready.wait_for_ssh("127.77.0.9", limit_seconds=5, alive=lambda: False)


@pytest.mark.parametrize("said", [b"", b"SS", b"220 mail\r\n"])
def test_anything_else_is_none(greeter: list[bytes], said: bytes) -> None:
    greeter[0] = said
    assert not ready.answers_ssh("127.77.0.9")


def test_nobody_waits_for_the_dead() -> None:
    assert not ready.wait_for_ssh("127.77.0.10", limit_seconds=60, alive=lambda: False)


def test_the_limit_ends_the_waiting() -> None:
    assert not ready.wait_for_ssh("127.77.0.10", limit_seconds=0.05, alive=lambda: True)


def test_listening_is_seen(greeter: list[bytes]) -> None:
    assert ready.listens("127.77.0.9", ready.SSH_PORT)
    assert not ready.listens("127.77.0.10", 9)
