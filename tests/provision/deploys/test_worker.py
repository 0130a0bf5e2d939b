"""The fork server as a process: lines in, lines out, and how it ends. Hosts are ports here that never speak SSH."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_SECONDS = 30


class Server:
    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        command = [sys.executable, "-m", "provision.deploys.worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, number: int, port: int, *, host: str = "h", verb: str = "run", limit: float = 20) -> None:
        connection = {
            "address": "127.0.0.1",
            "port": port,
            "key_file": str(self._key_file),
            "known_hosts_file": "/nonexistent",
            "connect_timeout_seconds": limit,
        }
        params = {"command": "true"}
        self.say({"id": number, "verb": verb, "host": host, "connection": connection, "params": params})

    def say(self, request: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, object]:
        assert self.process.stdout is not None
        reply: dict[str, object] = json.loads(self.process.stdout.readline())
        return reply

    @property
    def children(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(LIMIT_SECONDS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    key_file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key_file)], check=True, timeout=20)
    server = Server(key_file)
    with server.process:
        yield server
        server.process.kill()


class Silent:
    """A listener that accepts and says nothing."""

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(LIMIT_SECONDS)
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.accepted: list[socket.socket] = []

    def accept(self) -> None:
        self.accepted.append(self._listener.accept()[0])


@pytest.fixture
def silent() -> Iterator[Silent]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = Silent(listener)
        yield silent
        for connection in silent.accepted:
            connection.close()


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def await_gone(pids: list[int]) -> None:
    """Wait for the end of processes that are not ours."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(LIMIT_SECONDS * 1000), f"process {pid} does not end"
        os.close(descriptor)


def test_a_refused_connection_is_an_unreachable_host(server: Server) -> None:
    server.ask(1, refused_port())
    answer = server.answer()
    assert (answer["id"], answer["event"], answer["kind"]) == (1, "failed", "unreachable")
    assert answer["next"]


def test_hosts_do_not_wait_for_each_other(server: Server, silent: Silent) -> None:
    server.ask(1, silent.port, host="slow")
    server.ask(2, refused_port(), host="quick")
    assert server.answer()["id"] == 2
    assert len(server.children) == 2


def test_junk_is_answered_and_harms_nothing(server: Server) -> None:
    server.say({"id": 5, "verb": "zap"})
    server.say("junk")
    server.ask(6, refused_port())
    answers = [server.answer() for _ in range(3)]
    assert [(answer["id"], answer["kind"]) for answer in answers] == [
        (5, "invalid"),
        (-1, "invalid"),
        (6, "unreachable"),
    ]


def test_a_job_is_cancelled_while_it_connects(server: Server, silent: Silent) -> None:
    server.ask(1, silent.port)
    silent.accept()
    server.say({"id": 2, "verb": "cancel", "host": "h", "params": {"id": 1}})
    assert server.answer()["kind"] == "cancelled"


def test_the_death_of_a_child_leaves_no_job_without_answer(server: Server, silent: Silent) -> None:
    server.ask(1, silent.port)
    silent.accept()
    server.ask(2, silent.port)
    (child,) = server.children
    os.kill(child, signal.SIGKILL)
    answers = [server.answer(), server.answer()]
    assert {(answer["id"], answer["step"]) for answer in answers} == {(1, "worker"), (2, "worker")}
    server.ask(3, refused_port())
    assert server.answer()["id"] == 3


def test_end_of_input_ends_everything(server: Server, silent: Silent) -> None:
    for host in ("a", "b"):
        server.ask(1, silent.port, host=host)
        silent.accept()
    children = server.children
    assert server.end() == 0
    assert len(children) == 2
    assert all(gone(child) for child in children)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_its_children_end(server: Server, silent: Silent, number: signal.Signals) -> None:
    for host in ("a", "b"):
        server.ask(1, silent.port, host=host)
        silent.accept()
    children = server.children
    server.process.send_signal(number)
    server.process.wait(LIMIT_SECONDS)
    await_gone(children)


def test_ctrl_c_is_left_to_whoever_started_it(server: Server) -> None:
    server.ask(1, refused_port())
    server.answer()
    server.process.send_signal(signal.SIGINT)
    server.ask(2, refused_port())
    assert server.answer()["id"] == 2
