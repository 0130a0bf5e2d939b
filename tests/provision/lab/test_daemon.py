"""Detached processes: real ones, which end with the test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.errors import MachineCannot
from provision.lab.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(pid_file=tmp_path / "own" / "pid", log=tmp_path / "log")
    yield made
    made.stop(timeout_seconds=0.2)


def test_it_outlives_its_starter_in_a_session_of_its_own(daemon: Daemon) -> None:
    daemon.start(["sleep", "600"])
    pid = daemon.pid
    assert pid is not None
    assert os.getsid(pid) == pid
    assert os.getsid(pid) != os.getsid(0)


def test_starting_twice_starts_once(daemon: Daemon) -> None:
    daemon.start(["sleep", "600"])
    pid = daemon.pid
    daemon.start(["sleep", "600"])
    assert daemon.pid == pid


def test_stop_ends_it_and_may_be_repeated(daemon: Daemon) -> None:
    daemon.start(["sleep", "600"])
    daemon.stop()
    assert daemon.pid is None
    assert not daemon.pid_file.exists()
    daemon.stop()


def test_stop_insists(daemon: Daemon, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    daemon.start(["sh", "-c", f"trap '' TERM; echo ready > {pipe}; while :; do sleep 0.1; done"])
    assert pipe.read_text() == "ready\n"
    daemon.stop(timeout_seconds=0.2)
    assert daemon.pid is None


def test_a_pid_given_to_somebody_else_is_not_ours(daemon: Daemon) -> None:
    """Same pid, other start: what a reboot or a long life of the machine brings."""
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        stat = Path(f"/proc/{stranger.pid}/stat").read_text()
        name, _, rest = stat.rpartition(")")
        fields = rest.split()
        fields[19] = str(int(fields[19]) - 1)
        daemon.pid_file.parent.mkdir()
        daemon.pid_file.write_text(f"{name}) {' '.join(fields)}\n")
        assert daemon.pid is None
        daemon.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(timeout=10)


@pytest.mark.parametrize("note", ["", "x", "1", "999999999 (a) S 1", "-5 (a) S"])
def test_a_damaged_note_names_nobody(daemon: Daemon, note: str) -> None:
    daemon.pid_file.parent.mkdir()
    daemon.pid_file.write_text(note)
    assert daemon.pid is None


def test_last_words(daemon: Daemon, tmp_path: Path) -> None:
    assert daemon.last_words() == ""
    daemon.log.write_text("one\ntwo\nthree\n")
    assert daemon.last_words(2) == "two\nthree"


def test_missing_program(daemon: Daemon) -> None:
    with pytest.raises(MachineCannot, match="no-such-program"):
        daemon.start(["no-such-program"])
