"""What a machine lacks is said in its own words; pins without a link are cleared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import GateUnavailable, InvalidSetting
from agent.gate import bpf, mounts, objects
from agent.gate.frame import Helper
from agent.gate.gate import Gate
from tests.fakes.gates import Place

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("log", "helper"),
    [
        ("program of this type cannot use helper bpf_send_signal#109\n", Helper.SEND_SIGNAL),
        ("12: (85) call\nunknown func bpf_get_current_pid_tgid#14", Helper.GET_CURRENT_PID_TGID),
        ("unknown func bpf_of_the_future#9999", None),
        ("R0 !read_ok", None),
    ],
)
def test_the_verifiers_log_names_the_helper_that_is_missing(log: str, helper: Helper | None) -> None:
    assert objects.missing_helper(log) is helper


def test_the_error_says_which_kernel_has_the_helper() -> None:
    refusal = bpf.ProgramRefused(OSError(22, "Invalid argument"), "unknown func bpf_get_current_pid_tgid#14")
    error = objects.lacks(refusal)
    assert "GET_CURRENT_PID_TGID" in error.message
    assert "6.10" in error.next_step


def test_without_root_the_machine_cannot() -> None:
    if os.geteuid():
        pytest.skip("needs root, to give it up")
    code = """
import os, sys
from agent import cli
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(cli.main(["gate", "--device", "511:77", "--mode", "observe", "--seconds", "1"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == GateUnavailable.exit_code
    assert "root" in done.stderr


def test_pins_that_a_killed_maker_left_without_a_link_are_cleared(place: Place) -> None:
    name = place.cgroup.name
    Gate.open(place.config(name=name)).close(detach=False)
    (mounts.bpf_root() / "timelock" / name / objects.LINK).unlink()
    with place.gate(name=name) as gate:
        assert not gate.adopted
        assert gate.health().attached
    assert not (mounts.bpf_root() / "timelock" / name).exists()


@pytest.mark.parametrize("name", ["..", "a/b", "a b", "-", "a\n"])
def test_a_name_cannot_lead_elsewhere(place: Place, name: str) -> None:
    with pytest.raises(InvalidSetting):
        Gate.open(place.config(name=name))
