"""What is refused because of the hosts, or of what is kept about a booking: exit code, message, and what to do."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from provision.lab.lab import Lab
from provision.lab.tool import run
from tests.fakes.bookings import Demo, write_inventory, write_request
from tests.fakes.cli import Cli, Ran

pytestmark = pytest.mark.lab

Match = Callable[..., Ran]
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA3Xj3pSo9mDl5Qe0J0h2m3n6V8Q1u7kT5b4c2d1e0fA"


@pytest.fixture
def host(shared_demo: Demo) -> str:
    """A host that is free."""
    return shared_demo.spare


@pytest.fixture
def match(timelock: Cli, lab: Lab, host: str, tmp_path: Path) -> Match:
    """Match a request with that host alone, some of its variables changed."""

    def run(code: int, *, count: int = 2, request: Mapping[str, object] | None = None, **changes: object) -> Ran:
        asked = write_request(tmp_path, "asked", count=count, hosts=1, **(request or {}))
        hosts = write_inventory(tmp_path, lab, {host: changes})
        return timelock("match", asked, "--inventory", hosts, code=code)

    return run


def test_a_model_that_nobody_has(match: Match) -> None:
    ran = match(4, request={"gpu": {"model": "B300", "count": 2}})
    assert "1 host: another GPU model" in ran.err
    assert "set gpu.model to one that the supply has: H100" in ran.err


def test_more_than_there_is(match: Match) -> None:
    ran = match(4, count=4)
    assert ran.problems[0].startswith("expected 4 free GPUs that fit, found ")
    assert "1 host: fewer GPUs" in ran.err


def test_a_host_that_cannot_be_reached_is_a_reason_why_not(match: Match) -> None:
    ran = match(4, ansible_port=1)
    assert "unreachable" in ran.err


def test_an_ssh_key_that_the_host_does_not_know(match: Match, host: str, tmp_path: Path) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], timeout_seconds=30)
    ran = match(5, ansible_ssh_private_key_file=str(tmp_path / "key"))
    assert ran.problems[0].startswith(f"{host}: connect: ")
    assert "ansible_ssh_private_key_file" in ran.advice


def test_a_host_key_that_is_not_the_stated_one(match: Match) -> None:
    ran = match(5, timelock_host_key=OTHER_KEY)
    assert "the SSH host key changed: pinned SHA256:" in ran.problems[0]
    assert "do not trust it" in ran.advice


def test_an_image_that_the_registry_does_not_have(match: Match) -> None:
    ran = match(2, request={"image": "timelock/nothing:1"})
    assert ran.problems[0].startswith("image: expected timelock/nothing 1 in the registry ")


def test_a_window_in_the_past(match: Match) -> None:
    ran = match(2, request={"window": {"start": "2020-01-01T00:00:00Z", "duration": "2h"}})
    assert "2020-01-01T00:00:00Z" in ran.problems[0]
