"""A booking that is over leaves nothing on its hosts but logs."""

from collections.abc import Mapping

import pytest

from tests.fakes.bookings import SSH, Demo
from tests.fakes.snapshot import Snapshot, snapshot

pytestmark = pytest.mark.lab


def test_release_leaves_nothing_on_the_hosts_but_logs(demo: Demo, before: Mapping[str, Snapshot], ssh: SSH) -> None:
    hosts = demo.hosts
    released = demo.timelock.json("release", "demo")
    assert (released["state"], released["quarantined"]) == ("RELEASED", [])
    left = [f"{host} {line}" for host in hosts for line in before[host].difference(snapshot(demo.lab, host, ssh))]
    assert not left, "\n".join(left)


def test_a_booking_that_is_over_can_be_released_and_looked_at_but_not_used(shared_demo: Demo) -> None:
    demo = shared_demo
    if demo.state != "RELEASED":
        demo.book()
        demo.timelock("release", "demo", "--yes")
    assert demo.timelock("release", "demo", "--yes").out == "demo is RELEASED\n"
    assert demo.status()["state"] == "RELEASED"
    for words in (("submit", "demo", "--", "true"), ("ssh", "demo"), ("drift", "demo"), ("resume", "demo")):
        ran = demo.timelock(*words, code=2)
        assert "RELEASED" in ran.problems[0]
    secrets = ("passphrase", "mesh.secret", "pulumi")
    place = demo.timelock.home.booking("demo").root
    assert not [name for name in secrets if (place / name).exists()]
