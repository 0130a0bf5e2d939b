"""The edge of every command: one message, one exit code, no traceback, whatever happened."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from provision.cli.edge import guarded
from provision.errors import HostFailed, InvalidInput
from tests.fakes.cli import COMMAND


def ending(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIMELOCK_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted; "),
        (click.exceptions.Abort(), 130, "interrupted; "),
        (click.UsageError("expected more"), 2, "Error: expected more"),
        (InvalidInput(("a: wrong", "b: wrong")), 2, "error: a: wrong\nerror: b: wrong\n"),
        (HostFailed(host="a1", step="mesh", cause="x", next_step="do"), 5, "error: a1: mesh: x\n  → do\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/srv/x"), 8, "error: /srv/x: No space left on device\n"),
    ],
)
def test_each_error_has_its_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(ending(error)) == code
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(said)


def test_a_mistake_of_ours_is_kept_for_whoever_mends_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(ending(KeyError("slot"))) == 8
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert "Traceback" not in said
    assert str(home / "crash.log") in said
    assert "Traceback" in (home / "crash.log").read_text()


def test_a_host_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(ending(HostFailed(host="a1", step="mesh", cause="\x1b]0;owned\x07\x1b[2J")))
    assert "\x1b]" not in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", sys.stdout)  # put back afterwards
    assert guarded(ending(BrokenPipeError(errno.EPIPE, "Broken pipe"))) == 1
    sys.stdout.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_before_is_no_error(home: Path, closed: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f"{COMMAND} list {closed}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not (home / "crash.log").exists()


def test_the_result_is_the_exit_code() -> None:
    assert guarded(lambda: 1) == 1
    assert guarded(lambda: None) == 0
