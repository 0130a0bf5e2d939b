"""The first pid namespace is known by its number."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.pid_namespace import FIRST, is_first

ASK = "from agent.pid_namespace import is_first; print(is_first())"
OWN_PIDS = ("unshare", "--pid", "--fork", "--mount-proc")


def test_the_first_is_known_by_its_number(tmp_path: Path) -> None:
    link = tmp_path / "pid"
    link.symlink_to(FIRST)
    assert is_first(link)
    assert not is_first(tmp_path / "nothing")


def test_another_is_not_the_first() -> None:
    asked = subprocess.run(
        (*OWN_PIDS, sys.executable, "-c", ASK), capture_output=True, text=True, check=False, timeout=60
    )
    if asked.returncode:
        pytest.skip(f"no pid namespaces here: {asked.stderr.strip()}")
    assert asked.stdout == "False\n"
