"""The lock of a booking: one holder, who is named, and who loses it with its life."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from provision.booking.lock import held, holder
from provision.errors import Locked

HOLD = "import sys\nfrom pathlib import Path\nfrom provision.booking.lock import held\n"
HOLD += "with held(Path(sys.argv[1]), operation='timelock book demo'):\n print('held', flush=True)\n sys.stdin.read()\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "demo" / "lock"


@pytest.fixture
def other(path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()
    process.stdout.close()


def test_free_lock_has_no_holder(path: Path) -> None:
    assert holder(path) is None
    with held(path, operation="x"):
        assert holder(path) is not None
    assert holder(path) is None


def test_second_is_told_who_holds_it_and_since_when(path: Path, other: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(Locked, match=rf"demo: held by `timelock book demo` \(pid {other.pid}\) since 20"),
        held(path, operation="y"),
    ):
        pass


def test_lock_of_a_killed_holder_is_free(path: Path, other: subprocess.Popen[str]) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with held(path, operation="z"):
        assert "z" in (holder(path) or "")


def test_who_only_looks_keeps_nobody_out(path: Path) -> None:
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            holder(path)

    onlookers = [threading.Thread(target=look) for _ in range(2)]
    for onlooker in onlookers:
        onlooker.start()
    try:
        for _ in range(50):
            with held(path, operation="z"):
                pass
    finally:
        done.set()
        for onlooker in onlookers:
            onlooker.join()
