"""Machines that cannot carry a lab are told why, and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provision.errors import InvalidInput, MachineCannot
from provision.home import Home
from provision.lab import machine

REPOSITORY = Path(__file__).parents[3]
AS_NOBODY = """
import os, sys
from provision.errors import MachineCannot
from provision.lab import machine
os.setuid(65534)
try: machine.require_root()
except MachineCannot as error: print(error.message, '|', error.next_step)
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gets as far as this check")


@pytest.mark.parametrize(("hosts", "gpus"), [(0, 2), (-1, 2), (65, 2), (3, 9), (3, -1)])
def test_a_lab_that_cannot_be_meant_is_refused(home_here: Home, hosts: int, gpus: int) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        machine.require(home_here, hosts=hosts, gpus=gpus)


@needs_root
def test_missing_tools_are_named_with_their_packages(home_here: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MachineCannot, match="systemd-nspawn") as error:
        machine.require(home_here, hosts=1, gpus=0)
    assert error.value.next_step.startswith("apt-get install ")
    assert "systemd-container" in error.value.next_step


@needs_root
@pytest.mark.lab
def test_too_small_a_disk_is_seen_before_anything_is_made(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(MachineCannot, match=r"expected 6 GB free for the hosts' disks, found 0\.1 GB"):
            machine.require(Home.from_env({"TIMELOCK_HOME": str(small)}), hosts=3, gpus=2)
    finally:
        subprocess.run(["umount", str(small)], check=True)


@needs_root
def test_who_is_not_root_is_told_so() -> None:
    words = [sys.executable, "-c", AS_NOBODY]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "a lab makes hosts of namespaces and mounts: expected root, found user 65534 | run it as root, or with sudo\n"
    )
