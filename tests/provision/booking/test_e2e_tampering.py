"""An image is what its digest says, whatever the registry gives out."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from provision.lab.lab import Lab
from provision.lab.network import REGISTRY_PORT
from tests.fakes.bookings import SSH, write_inventory, write_request
from tests.fakes.cli import Cli
from tests.fakes.liar import Liar

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_demo")]


@pytest.fixture
def liar(lab: Lab, ssh: SSH) -> Iterator[Liar]:
    """A registry that lies, on the host that will be booked: to itself a host's firewall is open."""
    host = lab.hosts[0]
    behind = f"{host.network.controller}:{REGISTRY_PORT}"
    found = Liar(lab.place, host.address, behind, partial(ssh, lab, host.name))
    found.start()
    yield found
    found.stop()


def test_an_image_that_is_not_what_its_digest_says_is_refused(
    timelock: Cli, lab: Lab, liar: Liar, tmp_path: Path
) -> None:
    host = lab.hosts[0].name
    inventory = write_inventory(tmp_path, lab, {host: {}}, timelock_registry=liar.authority)
    request = write_request(tmp_path, "forged", count=2, hosts=1)
    refused = timelock("book", request, "--inventory", inventory, "--yes", "--no-serve", code=5)
    assert refused.problems[0].startswith(f"{host}: image {liar.authority}/timelock/ray@")
    assert "verification failed" in refused.err
    assert "do not use this registry" in refused.advice
    assert timelock.json("release", "forged")["state"] == "RELEASED"
