"""What /proc tells, of processes of our own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from agent.gate import proc
from agent.gate.device import DeviceRange
from tests.fakes.wait import until

ZERO = (DeviceRange(major=1, first=5, last=5),)
CHILD = """
import ctypes, os, sys
path_only = os.open("/dev/zero", os.O_PATH)
fd = os.open("/dev/zero", os.O_RDWR)
ctypes.CDLL(None).mmap(None, ctypes.c_size_t(4096), 1, 2, fd, ctypes.c_long(0))
print(fd, flush=True)
sys.stdin.readline()
os.close(fd)
print("closed", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-SEc", CHILD]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_descriptors_and_mappings_of_a_device_are_seen(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    descriptor = int(child.stdout.readline())
    assert proc.descriptors(child.pid, ZERO) == (descriptor,)
    assert proc.descriptors(child.pid, (DeviceRange(major=195),)) == ()
    if os.geteuid():
        pytest.skip("map_files needs root")
    assert len(proc.mappings(child.pid, ZERO)) == 1
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "closed\n"
    assert proc.descriptors(child.pid, ZERO) == ()
    assert len(proc.mappings(child.pid, ZERO)) == 1


def test_a_stopped_process_stands(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    child.stdout.readline()
    assert not proc.stands(child.pid, child.pid)
    child.send_signal(signal.SIGSTOP)
    until(lambda: proc.stands(child.pid, child.pid), "it stands")
    child.send_signal(signal.SIGCONT)
    until(lambda: not proc.stands(child.pid, child.pid), "it goes on")


def test_a_process_began_in_the_past(child: subprocess.Popen[str]) -> None:
    started_ns = proc.started_ns(child.pid)
    assert started_ns is not None
    assert 0 < started_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_who_is_gone_has_nothing(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()
    assert proc.started_ns(child.pid) is None
    assert (proc.descriptors(child.pid, ZERO), proc.mappings(child.pid, ZERO)) == ((), ())
    assert proc.stands(child.pid, child.pid)
