"""kill -9 of anything, at any step, leaves a lab that `down` clears."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.home import Home
from provision.lab.lab import Lab
from provision.lab.numbers import held_number
from tests.conftest import LabMaker
from tests.fakes.traces import traces
from tests.fakes.wait import alive, until

REPOSITORY = Path(__file__).parents[3]
UP = """
import sys
from provision.home import Home
from provision.lab.lab import Lab
Lab(Home.from_env(), sys.argv[1]).up(hosts=1, gpus=1, image="minimal")
"""
# Stands before every tool that `up` calls: at the given call it kills its caller, before or after doing its work.
SHIM = """#!/bin/sh
exec 9>>{counter}; flock 9; echo >&9; count=$(wc -l < {counter}); flock -u 9; exec 9>&-
PATH={path}
[ $count = {at} ] && [ {when} = before ] && {{ kill -9 $PPID; exit 1; }}
{tool} "$@"; status=$?
[ $count = {at} ] && [ {when} = after ] && kill -9 $PPID
exit $status
"""
TOOLS = ("stat", "apt-config", "ip", "nft", "ssh-keygen", "mkfs.ext4", "umoci", "setpriv", "docker-registry", "skopeo")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAST_CALL = 40
Run = Callable[..., str]


def killed_at(home: Home, name: str, place: Path, at: int, when: str) -> bool:
    """Run `up` until its `at`-th call of a tool and kill it there; say whether it got that far."""
    shims, counter = place / "bin", place / "calls"
    shims.mkdir(parents=True)
    for tool in TOOLS:
        shim = shims / tool
        shim.write_text(SHIM.format(counter=counter, at=at, when=when, tool=tool, path=PATH))
        shim.chmod(0o755)
    environment = {
        "PATH": f"{shims}:{PATH}",
        "TIMELOCK_HOME": str(home.root),
        "TIMELOCK_CACHE": str(home.cache),
    }
    done = subprocess.run([sys.executable, "-c", UP, name], cwd=REPOSITORY, env=environment, check=False, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


@pytest.mark.lab
@pytest.mark.parametrize("when", ["before", "after"])
def test_up_killed_at_every_step_leaves_nothing_that_down_cannot_clear(
    new_lab: LabMaker, tmp_path: Path, when: str
) -> None:
    lab = new_lab()
    lab.up(hosts=1, image="minimal")  # the image is there, and the number is the one the others will get
    lab.down()
    for at in range(1, LAST_CALL):
        reached = killed_at(lab.home, lab.name, tmp_path / str(at), at, when)
        number = held_number(lab.place)
        lab.down()
        assert number is None or traces(lab.place, number) == [], f"killed {when} call {at}"
        if not reached:
            assert at > 10, "`up` calls more tools than this"
            return
    raise AssertionError(f"expected `up` to need fewer than {LAST_CALL} calls of tools")


@pytest.mark.lab
def test_up_after_a_killed_up_goes_on(new_lab: LabMaker, tmp_path: Path) -> None:
    lab = new_lab()
    for at in (9, 12, 15):
        killed_at(lab.home, lab.name, tmp_path / str(at), at, "after")
    assert lab.up(hosts=1, gpus=1, image="minimal").ready


@pytest.fixture
def running(new_lab: LabMaker) -> Lab:
    lab = new_lab()
    lab.up(hosts=1, gpus=1, image="minimal")
    return lab


def processes(lab: Lab, word: str) -> list[int]:
    """The processes of the lab's first host or its services whose command line holds the word."""
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


@pytest.mark.lab
def test_a_killed_launcher_leaves_the_host_running_and_down_clears_it(running: Lab, ssh: Run) -> None:
    (host,) = running.hosts
    launcher = processes(running, "provision.lab.detached")[0]
    os.kill(launcher, signal.SIGKILL)
    until(lambda: not alive(launcher), "the launcher is dead")
    assert ssh(running, host.name, "echo alive") == "alive\n"
    running.down()
    assert traces(running.place, host.network.number) == []


@pytest.mark.lab
def test_a_killed_nspawn_ends_the_host_whole_and_up_starts_it_again(running: Lab, ssh: Run) -> None:
    (host,) = running.hosts
    os.kill(processes(running, "systemd-nspawn")[0], signal.SIGKILL)
    until(lambda: not host.alive(), "no process of the host is left")
    assert running.up(hosts=1, image="minimal").ready
    assert ssh(running, host.name, "echo again") == "again\n"


@pytest.mark.lab
@pytest.mark.parametrize("word", ["systemd-nspawn", "/lib/systemd/systemd", "sshd"])
def test_whatever_of_a_host_is_killed_down_clears_the_rest(running: Lab, word: str) -> None:
    number = running.hosts[0].network.number
    for pid in processes(running, word):
        os.kill(pid, signal.SIGKILL)
    running.down()
    assert traces(running.place, number) == []


@pytest.mark.lab
@pytest.mark.parametrize("word", ["docker-registry", "provision.lab.detached"])
def test_killed_services_are_seen_and_started_again(running: Lab, word: str) -> None:
    for pid in processes(running, word):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not running.status().ready or word == "provision.lab.detached", "the loss shows")
    assert running.up(hosts=1, image="minimal").ready


@pytest.mark.lab
def test_down_killed_in_the_middle_is_finished_by_the_next(new_lab: LabMaker, tmp_path: Path) -> None:
    lab = new_lab()
    lab.up(hosts=1, image="minimal")
    number = lab.hosts[0].network.number
    down = UP.replace('.up(hosts=1, gpus=1, image="minimal")', ".down()")
    for tool in ("ip", "nft"):
        shim = tmp_path / "bin" / tool
        shim.parent.mkdir(exist_ok=True)
        shim.write_text("#!/bin/sh\nkill -9 $PPID\n")
        shim.chmod(0o755)
    environment = {"PATH": f"{tmp_path}/bin:{PATH}", "TIMELOCK_HOME": str(lab.home.root)}
    done = subprocess.run([sys.executable, "-c", down, lab.name], cwd=REPOSITORY, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    lab.down()
    assert traces(lab.place, number) == []
