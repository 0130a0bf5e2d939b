"""The lock that several commands of one machine share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provision.errors import Locked
from provision.lab import turn
from provision.lab.turn import only_one

REPOSITORY = Path(__file__).parents[3]


def test_a_held_lock_is_waited_for_within_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "LOCK_SECONDS", 0.0)
    with only_one(tmp_path / "lock"), pytest.raises(Locked, match="found it held"), only_one(tmp_path / "lock"):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "LOCK_SECONDS", 0.0)
    program = (
        "import os, pathlib, signal, sys\n"
        "from provision.lab.turn import only_one\n"
        "with only_one(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path / "lock"], cwd=REPOSITORY, timeout=60, check=False)
    assert killed.returncode == -9
    with only_one(tmp_path / "lock"):
        pass
