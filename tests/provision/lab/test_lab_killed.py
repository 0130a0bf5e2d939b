"""kill -9 of anything, at any step, leaves a lab that `down` clears and `up` goes on with."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.lab.lab import Lab
from provision.lab.numbers import held_number
from tests.conftest import LabMaker
from tests.fakes.killed import steps
from tests.fakes.traces import traces
from tests.fakes.wait import alive, until

pytestmark = pytest.mark.lab
POINTS = 20
Run = Callable[..., str]


def spread(total: int, points: int) -> list[int]:
    """Give step numbers from the first to the last, evenly."""
    return sorted({1 + round(index * (total - 1) / (points - 1)) for index in range(points)})


def up_is_killed_and_cleared(lab: Lab, points: int | None) -> None:
    total = steps(lab, "up")
    assert total is not None
    assert total > POINTS
    number = held_number(lab.place)
    assert number is not None
    lab.down()
    for at in spread(total, points) if points else range(1, total + 1):
        steps(lab, "up", kill_at=at)
        number = held_number(lab.place)
        lab.down()
        assert number is None or traces(lab.place, number) == [], f"killed at step {at} of {total}"
        assert not lab.place.exists(), f"killed at step {at} of {total}"


def test_up_killed_at_twenty_steps_leaves_nothing_that_down_cannot_clear(new_lab: LabMaker) -> None:
    up_is_killed_and_cleared(new_lab(), POINTS)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_up_killed_at_every_step_leaves_nothing_that_down_cannot_clear(new_lab: LabMaker) -> None:
    up_is_killed_and_cleared(new_lab(), None)


def test_up_goes_on_where_a_killed_up_ended(new_lab: LabMaker) -> None:
    lab = new_lab()
    total = steps(lab, "up")
    assert total is not None
    lab.down()
    for at in spread(total, 8):
        steps(lab, "up", kill_at=at)
    assert lab.up(hosts=1, gpus=1, image="minimal").ready


def test_down_killed_at_every_step_is_finished_by_the_next(new_lab: LabMaker) -> None:
    lab = new_lab()
    steps(lab, "up")
    total = steps(lab, "down")
    assert total is not None
    for at in spread(total, 6):
        steps(lab, "up")
        number = held_number(lab.place)
        assert number is not None
        steps(lab, "down", kill_at=at)
        lab.down()
        assert traces(lab.place, number) == [], f"killed at step {at} of {total}"


@pytest.fixture
def running(new_lab: LabMaker) -> Lab:
    lab = new_lab()
    lab.up(hosts=1, gpus=1, image="minimal")
    return lab


def processes(lab: Lab, word: str) -> list[int]:
    """The processes of the lab, hosts and services, whose command line holds the word."""
    (host,) = lab.hosts
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"/{host.network.group}/" in (process / "cgroup").read_text()
            if ours and word.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return sorted(found)


def launcher(lab: Lab) -> int:
    (host,) = lab.hosts
    (found,) = [
        pid
        for pid in processes(lab, "provision.lab.detached")
        if f"/{host.name}" in Path(f"/proc/{pid}/cgroup").read_text()
    ]
    return found


def test_a_killed_launcher_leaves_the_host_running_and_down_clears_it(running: Lab, ssh: Run) -> None:
    (host,) = running.hosts
    pid = launcher(running)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), "the launcher is dead")
    assert ssh(running, host.name, "echo alive") == "alive\n"
    running.down()
    assert traces(running.place, host.network.number) == []


def test_a_killed_nspawn_ends_the_host_whole_and_up_starts_it_again(running: Lab, ssh: Run) -> None:
    (host,) = running.hosts
    os.kill(processes(running, "systemd-nspawn")[0], signal.SIGKILL)
    until(lambda: not host.alive(), "no process of the host is left")
    assert running.up(hosts=1, image="minimal").ready
    assert ssh(running, host.name, "echo again") == "again\n"


@pytest.mark.parametrize("word", ["systemd-nspawn", "/lib/systemd/systemd", "sshd", "docker-registry"])
def test_whatever_of_a_lab_is_killed_down_clears_the_rest(running: Lab, word: str) -> None:
    number = running.hosts[0].network.number
    for pid in processes(running, word):
        os.kill(pid, signal.SIGKILL)
    running.down()
    assert traces(running.place, number) == []


def test_a_killed_registry_is_seen_and_started_again(running: Lab) -> None:
    (pid,) = processes(running, "docker-registry")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running.status().registry, "the loss shows")
    assert running.up(hosts=1, image="minimal").ready


def test_a_killed_proxy_is_seen_and_started_again(running: Lab) -> None:
    host = launcher(running)
    (pid,) = [pid for pid in processes(running, "provision.lab.detached") if pid != host]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running.status().proxy, "the loss shows")
    assert running.up(hosts=1, image="minimal").ready
