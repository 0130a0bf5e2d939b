"""`timelock-agent gate` as a person or a program runs it."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.gate import bpf, mounts
from tests.fakes.gates import CONSOLES, LIMIT_SECONDS, Place

REPOSITORY = Path(__file__).parents[2]
FOR_LONG = str(LIMIT_SECONDS * 10)


def command(place: Place, *more: str | Path) -> list[str]:
    words = [sys.executable, "-m", "agent.cli", "gate", "--device", CONSOLES, "--cgroup", place.cgroup, *more]
    return list(map(str, words))


@contextlib.contextmanager
def watching(place: Place, *more: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A watch that stands."""
    process = subprocess.Popen(command(place, *more), stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert "stand" in line, f"expected the gate to stand, found {line!r}"
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], number: int = signal.SIGINT) -> list[str]:
    assert process.stdout is not None
    process.send_signal(number)
    out = process.stdout.read()  # not communicate(), which knows nothing of what readline() has read ahead
    process.wait(LIMIT_SECONDS)
    return out.splitlines()


def parsed(texts: list[str]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in texts]


def test_each_opening_is_a_line_and_the_end_a_summary(place: Place) -> None:
    with watching(place, "--mode", "observe", "--json") as watch:
        opener = place.run("once")
        opening, summary = parsed(ended(watch))
    assert watch.returncode == 130
    assert (opening["event"], opening["verdict"], opening["pid"]) == ("opening", "observed", opener.pid)
    assert (opening["device"], opening["access"]) == (f"7:{place.minor}", "rw")
    assert opening["cgroup"] == f"/{place.cgroup.name}"
    assert (summary["event"], summary["lost"], summary["attached"]) == ("summary", 0, True)
    assert summary["counters"]["observed"] == 1


def test_it_denies_unless_told_otherwise_and_lets_in_who_is_allowed(place: Place) -> None:
    booked = place.group("booked")
    with watching(place, "--allow", booked) as watch:
        assert place.run("once").said[0]["got"] == -errno.EPERM
        assert place.run("once", cgroup=booked).said[0]["got"] >= 0
        stopped, allowed, summary = ended(watch, signal.SIGTERM)
    assert " stopped " in stopped
    assert " allowed " in allowed
    assert "lost 0" in summary
    assert place.run("once").said[0]["got"] >= 0


def test_with_hold_each_is_confirmed(place: Place) -> None:
    with watching(place, "--mode", "observe", "--hold", "--json") as watch:
        opener = place.start("keep")
        got = opener.hear()["got"]
        opening, confirmation, _ = parsed(ended(watch))
    assert (confirmation["strength"], confirmation["descriptors"]) == ("open", [got])
    assert confirmation["sequence"] == opening["sequence"]
    assert opening["held"]


def test_a_flood_is_told_with_its_count(place: Place) -> None:
    with watching(place, "--mode", "observe", "--json") as watch:
        opener = place.run("flood", "500")
        *openings, tally, summary = parsed(ended(watch))
    assert len(openings) + summary["counters"]["merged"] == 500
    assert (tally["event"], tally["pid"], tally["openings"]) == ("tally", opener.pid, 500)


def test_it_ends_by_itself(place: Place) -> None:
    done = subprocess.run(
        command(place, "--seconds", "0.1"), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.count("gate stands") == 2


def test_killed_it_stands_and_is_taken_over(place: Place) -> None:
    named = ("--name", place.cgroup.name, "--seconds", FOR_LONG, "--json")
    with watching(place, *named) as first:
        first.kill()
        first.wait()
    opener = place.run("once")
    assert opener.said[0]["got"] == -errno.EPERM
    with watching(place, *named) as second:
        opening, _ = parsed(ended(second))
    assert (opening["pid"], opening["verdict"]) == (opener.pid, "stopped")
    assert place.run("once").said[0]["got"] >= 0


def test_a_gate_that_was_taken_off_could_not_tell(place: Place) -> None:
    name = place.cgroup.name
    with watching(place, "--name", name, "--seconds", FOR_LONG) as watch:
        bpf.detach(bpf.open_pinned(mounts.bpf_root() / "timelock" / name / "link"))
        (summary,) = ended(watch)
    assert watch.returncode == cli.COULD_NOT_TELL
    assert "TAKEN OFF" in summary


def test_two_of_one_name_are_one_too_many(place: Place) -> None:
    named = ("--name", place.cgroup.name, "--seconds", FOR_LONG)
    with watching(place, *named) as watch:
        done = subprocess.run(command(place, *named), cwd=REPOSITORY, capture_output=True, text=True, check=False)
        ended(watch)
    assert done.returncode == 6
    assert "another process" in done.stderr


def test_a_reader_that_goes_away_ends_it(place: Place) -> None:
    with watching(place, "--mode", "observe") as watch:
        assert watch.stdout is not None
        watch.stdout.close()
        place.run("once")
        assert watch.wait(LIMIT_SECONDS) == 0
        watch.stdout = None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "nvidia0"], "expected MAJOR:FIRST-MAJOR:LAST"),
        (["--device", "195:*", "--hold"], "expected --mode observe"),
        (["--device", "195:*", "--name", "a"], "expected --seconds"),
        (["--device", "195:*", "--seconds", "-1"], "expected a time"),
    ],
)
def test_nonsense_is_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gate", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_device_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["gate"])
    assert ended.value.code == 2
    assert "--device" in capsys.readouterr().err
