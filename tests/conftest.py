"""Real hosts for tests: `lab` is shared by a whole run, `new_lab` makes some to break; all are taken down."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.errors import MachineCannot
from provision.home import Home
from provision.lab import machine, numbers
from provision.lab.lab import Lab

LabMaker = Callable[[], Lab]
NUMBERS = itertools.count(1)
HOSTS = 4
"""Of the shared lab: one more than the shared booking has, to take the place of one that dies or to be a stranger."""


@pytest.fixture(scope="session")
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A state directory of this run; the cache is the machine's own, so that no image is built twice."""
    clear_orphans()
    root = tmp_path_factory.mktemp("timelock-home")
    home = Home.from_env({"TIMELOCK_HOME": str(root), "TIMELOCK_CACHE": str(Home.from_env().cache)})
    try:
        machine.require(home, hosts=HOSTS, gpus=2)
    except MachineCannot as error:
        pytest.skip(f"no lab on this machine: {error.message}")
    return home


def clear_orphans() -> None:
    """Take down the labs of test runs that were killed before they could: their names tell a process that is gone."""
    for place in numbers.holders(numbers.PLACE).values():
        owner = re.fullmatch(r"t(\d+)(-\d+)?", place.name) if place else None
        if place and owner and not Path(f"/proc/{owner[1]}").exists():
            Lab(Home.from_env({"TIMELOCK_HOME": str(place.parents[1])}), place.name).down()


@pytest.fixture(scope="session")
def lab(lab_home: Home) -> Iterator[Lab]:
    """Golden hosts with two GPUs each, shared by all tests of the run: leave them as they were."""
    with_hosts = Lab(lab_home, f"t{os.getpid()}")
    try:
        with_hosts.up(hosts=HOSTS, gpus=2)
        yield with_hosts
    finally:
        with_hosts.down()


@pytest.fixture
def new_lab(lab_home: Home) -> Iterator[LabMaker]:
    """Make labs that nobody else has, not yet up; what they are afterwards does not matter."""
    made: list[Lab] = []

    def make() -> Lab:
        made.append(Lab(lab_home, f"t{os.getpid()}-{next(NUMBERS)}"))
        return made[-1]

    yield make
    for one in made:
        one.down()


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a command on a lab host by the machine's own ssh: `ssh(lab, "lab-a1", "uptime")`, its output comes back."""
    from tests.fakes.ssh import Ssh

    return Ssh(tmp_path_factory.mktemp("ssh"))


@pytest.fixture
def home_here(tmp_path: Path) -> Home:
    """A state directory that nothing needs root for."""
    return Home.from_env({"TIMELOCK_HOME": str(tmp_path)})
