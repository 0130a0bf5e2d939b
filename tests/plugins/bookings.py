"""The booking that end-to-end tests share: four lab hosts, of which `demo` has three; each test leaves it ACTIVE."""

from collections.abc import Callable, Iterator, Mapping

import pytest

from provision.home import Home
from provision.lab.lab import Lab
from tests.fakes.bookings import Demo, write_request
from tests.fakes.cli import Cli
from tests.fakes.snapshot import Snapshot, snapshot


@pytest.fixture(scope="session")
def timelock(lab_home: Home, lab: Lab) -> Cli:
    """The command, in the run's home, for the lab's hosts."""
    return Cli(home=lab_home, inventory=lab.inventory_file)


@pytest.fixture(scope="session")
def before(lab: Lab, ssh: Callable[..., str]) -> Mapping[str, Snapshot]:
    """What each host was like before the first booking."""
    return {host.name: snapshot(lab, host.name, ssh) for host in lab.hosts}


@pytest.fixture(scope="session")
def shared_demo(
    lab: Lab,
    timelock: Cli,
    before: Mapping[str, Snapshot],
    ssh: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Demo:
    """The shared booking, booked once if no test ends it."""
    folder = tmp_path_factory.mktemp("demo")
    request = write_request(folder, "demo", count=6, hosts=3, price={"max_total": "60 EUR"}, ray={"head_cpus": 1})
    return Demo(name="demo", lab=lab, timelock=timelock, request=request, run=ssh)


@pytest.fixture
def demo(shared_demo: Demo) -> Demo:
    """The shared booking, ACTIVE now."""
    if shared_demo.state != "ACTIVE":
        shared_demo.book()
    return shared_demo


@pytest.fixture
def tidy(timelock: Cli) -> Iterator[None]:
    """Other bookings than the shared one are over when the test is."""
    yield
    for booking in timelock.json("list")["bookings"]:
        if booking["name"] != "demo":
            timelock("release", booking["name"], "--yes")


@pytest.fixture
def no_demo(shared_demo: Demo, tidy: None) -> None:
    """All hosts are free."""
    if shared_demo.live:
        shared_demo.timelock("release", "demo", "--yes")
