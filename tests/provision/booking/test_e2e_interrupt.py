"""Ctrl-C: once, it stops cleanly and keeps the state; twice, it stops at once. `resume` goes on either way."""

import signal
import subprocess
from pathlib import Path

import pytest

from provision.booking.progress import read_journal
from tests.fakes.bookings import write_request
from tests.fakes.cli import Cli
from tests.fakes.wait import alive, descendants, until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("tidy")]

LIMIT_SECONDS = 90


def test_a_booking_that_is_interrupted_stops_cleanly_and_goes_on_later(timelock: Cli, tmp_path: Path) -> None:
    request = write_request(tmp_path, "halted", count=2, hosts=1)
    with timelock.start("book", request, "--yes", "--no-serve") as book:
        until(lambda: began(timelock, "engine"), "the engine's role begins", LIMIT_SECONDS)
        said = interrupt(book, times=1)
    assert book.returncode == 130, said
    assert "timelock resume halted" in said
    assert "Traceback" not in said
    assert timelock.json("status", "halted")["state"] == "PROVISIONING"
    assert timelock.json("resume", "halted")["state"] == "ACTIVE"
    with timelock.start("release", "halted", "--yes") as release:
        until(lambda: began(timelock, "ray", verb="remove"), "Ray is removed", LIMIT_SECONDS)
        said = interrupt(release, times=2)
    assert release.returncode == 130, said
    assert "Traceback" not in said
    assert timelock.json("release", "halted")["state"] == "RELEASED"


def began(timelock: Cli, role: str, verb: str = "apply") -> bool:
    lines = [line.value for line in read_journal(timelock.home.booking("halted").journal)]
    return any((line.get("role"), line.get("verb")) == (role, verb) for line in lines)


def interrupt(process: subprocess.Popen[str], *, times: int) -> str:
    """Press Ctrl-C so many times; what it said. No process of its own is left behind."""
    assert process.stderr
    below, said = descendants(process.pid), ""
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        while "note: stopping" not in said and (line := process.stderr.readline()):
            said += line
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    until(lambda: not any(map(alive, below)), "no process is left", LIMIT_SECONDS)
    return out + said + err
