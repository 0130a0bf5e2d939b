"""What each host is asked: one command a host, the driver on the head alone."""

import asyncio
import subprocess

from provision.booking.acceptance import command, examine
from provision.booking.trial import Trial
from provision.booking.workers import Answer
from tests.provision.booking.test_trial import MEMBERS, TRIAL, said


def test_every_host_is_asked_once_and_all_are_accepted() -> None:
    asked: dict[str, tuple[str, int]] = {}

    async def run(host: str, command: str, stdin: str = "", timeout_seconds: int = 60) -> Answer:
        assert host not in asked
        asked[host] = (stdin, timeout_seconds)
        return Answer(stdout=said(next(m for m in MEMBERS if m.name == host)), stderr="", status=0)

    found = asyncio.run(examine(TRIAL, run, 5))
    assert found.accepted == ("lab-a1", "lab-a2", "lab-a3")
    assert ["import ray" in stdin for stdin, _ in asked.values()] == [True, False, False]
    assert all(limit > 5 for _, limit in asked.values())


def test_each_host_knocks_at_its_neighbour_and_reaches_all_others() -> None:
    first, _, last = (command(TRIAL, member, 5) for member in MEMBERS)
    assert "10.88.0.2:6380 10.88.0.3:6380 -- 192.0.2.2:6379" in first
    assert "10.88.0.1:6379 10.88.0.2:6380 -- 192.0.2.1:6379" in last
    assert "docker" in first.splitlines()[-2]
    assert last.splitlines()[-2] == ":"


def test_commands_are_shell() -> None:
    for trial in (TRIAL, Trial(booking="demo", members=MEMBERS[:1])):
        for member in trial.members:
            subprocess.run(["bash", "-n", "-c", command(trial, member, 5)], check=True, timeout=10)
            assert f"{member.address}:6379" not in command(trial, member, 5)
