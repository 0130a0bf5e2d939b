"""`timelock-agent gpus` on a fake machine: who uses what, and what is unknown is never zero."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from tests.nvml.fake import LOST, FakeNvml

MEGABYTE = 2**20


def gpus(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent.cli", "gpus", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, env=dict(environment), check=False)


def test_who_uses_a_gpu_stands_below_it(fake_nvml: FakeNvml) -> None:
    user = fake_nvml.use(1)
    user.hold(64 * MEGABYTE)
    ran = gpus(fake_nvml.environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    first, second = (line for line in ran.stdout.splitlines() if "GPU-" in line)
    assert first.startswith("0  GPU-")
    assert second.startswith("1  GPU-")
    assert f"compute: process {user.process.pid}, {64 * MEGABYTE} bytes" in ran.stdout.partition(second)[2]
    told = json.loads(gpus(fake_nvml.environment, "--json").stdout)
    rows = [gpu["processes"]["compute"]["rows"] for gpu in told["gpus"]]
    assert rows[0] == []
    assert [(row["pid"], row["memory_bytes"]) for row in rows[1]] == [(user.process.pid, 64 * MEGABYTE)]


def test_what_cannot_be_read_says_so(fake_nvml: FakeNvml) -> None:
    fake_nvml.turn(LOST, 0)
    ran = gpus(fake_nvml.environment)
    assert ran.returncode == 0
    assert "not available: " in ran.stdout
    assert "GPU_IS_LOST" in ran.stdout


def test_without_a_driver_it_says_so_and_what_to_do() -> None:
    ran = gpus({"PATH": "/usr/bin:/bin"})
    assert (ran.returncode, ran.stdout) == (8, "")
    assert ran.stderr.startswith("error: ")
    assert "next: " in ran.stderr
