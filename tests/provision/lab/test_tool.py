"""The machine's tools: what goes wrong is said with what to do."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from provision.errors import MachineCannot
from provision.lab.tool import CONTAINED, cannot, run

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def test_output_is_returned() -> None:
    assert run(["cat"], stdin="hello", timeout_seconds=10) == "hello"


def test_missing_program_names_its_package() -> None:
    with pytest.raises(MachineCannot, match="no-such-program") as refusal:
        run(["no-such-program"], timeout_seconds=10)
    assert refusal.value.next_step == "apt-get install no-such-program"


def test_missing_program_behind_the_container_is_named_too() -> None:
    with pytest.raises(MachineCannot, match=r"^no-such-program"):
        run([*CONTAINED, "no-such-program"], timeout_seconds=10)


def test_failure_carries_the_last_words() -> None:
    with pytest.raises(MachineCannot, match=r"status 3:\nwhat happened"):
        run(["sh", "-c", "echo what happened >&2; exit 3"], timeout_seconds=10)


def test_full_disk_is_told_from_other_failures() -> None:
    with pytest.raises(MachineCannot, match="disk is full") as refusal:
        run(["sh", "-c", "echo 'write: no space left on device' >&2; exit 1"], timeout_seconds=10)
    assert "TIMELOCK_CACHE" in refusal.value.next_step
    assert "disk is full" in cannot("a file", OSError(errno.ENOSPC, "no space")).message


def test_a_limit_holds() -> None:
    with pytest.raises(MachineCannot, match="still at work"):
        run(["sleep", "60"], timeout_seconds=0.05)


@needs_root
def test_contained_tool_dies_with_its_caller(tmp_path: Path) -> None:
    """SIGKILL of the caller reaches what the tool started, and its mounts vanish."""
    ready, release = tmp_path / "ready", tmp_path / "release"
    os.mkfifo(ready)
    os.mkfifo(release)
    script = f"mount -t tmpfs tmpfs /mnt && touch /mnt/mine && echo up > {ready} && read line < {release}"
    program = f"from provision.lab.tool import *; run([*CONTAINED, 'sh', '-c', {script!r}], timeout_seconds=60)"
    caller = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    assert ready.read_text() == "up\n"
    reader = os.open(release, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(release, os.O_WRONLY)
    os.close(reader)
    caller.kill()
    caller.wait(timeout=10)
    _wait_for_last_reader(writer)
    os.close(writer)
    assert not Path("/mnt/mine").exists()


def _wait_for_last_reader(writer: int) -> None:
    """Return when nobody has the pipe open for reading any more: poll says so at once, or within its limit."""
    poll = select.poll()
    poll.register(writer, 0)
    assert poll.poll(10_000), "the contained tool outlived its caller"
