"""Windows are kept: held when booked, opened before they start, closed when they end, whatever is killed meanwhile."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision import units
from provision.booking.ledger import Ledger
from provision.booking.lifecycle import LEAD_NS
from provision.booking.model import Booking, Claim
from provision.control.background import lock_path, serving
from provision.lab.lab import Lab
from tests.fakes.bookings import write_inventory, write_request
from tests.fakes.cli import Cli
from tests.fakes.wait import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_demo")]

SECOND_NS = 10**9
LIMIT_SECONDS = 200


@pytest.fixture
def control_plane(timelock: Cli) -> Iterator[Cli]:
    yield timelock
    timelock("serve", "--stop")


def test_serve_opens_a_window_before_it_starts_and_closes_one_that_ends(
    control_plane: Cli, lab: Lab, tmp_path: Path
) -> None:
    timelock = control_plane
    now_ns = time.time_ns()
    later = write_request(tmp_path, "later", count=2, hosts=1, window=window(now_ns + LEAD_NS + 15 * SECOND_NS, "1h"))
    turn = units.format_instant((now_ns // SECOND_NS + 60) * SECOND_NS)
    short = write_request(tmp_path, "short", count=2, hosts=1, window={"start": "now", "end": turn})
    follower = write_request(tmp_path, "follower", count=2, hosts=1, window={"start": turn, "duration": "1h"})
    held = timelock("book", later, "--yes").out
    assert "later is CLAIMED" in held
    assert "`timelock serve` provisions them before" in held
    assert serving(timelock.home)
    os.kill(serve_pid(timelock), signal.SIGKILL)
    until(lambda: not serving(timelock.home), "it is dead")
    assert booking(timelock, "later").state == "CLAIMED"
    free = next(host.name for host in lab.hosts if host.name != claims(timelock, "later")[0].host)
    one = write_inventory(tmp_path, lab, {free: {}})
    for request in (short, follower):
        timelock("book", request, "--yes", "--no-wait", "--inventory", one)
    assert serving(timelock.home)
    until(lambda: booking(timelock, "later").state == "ACTIVE", "later is opened", LIMIT_SECONDS)
    assert time.time_ns() < booking(timelock, "later").start_ns
    until(lambda: booking(timelock, "short").state == "RELEASED", "short is closed", LIMIT_SECONDS)
    assert time.time_ns() >= booking(timelock, "short").end_ns
    actors = {(event["new"], event["actor"]) for event in timelock.json("events", "short")["events"]}
    assert {("CLOSING", "serve"), ("RELEASED", "serve")} <= actors
    until(lambda: booking(timelock, "follower").state == "ACTIVE", "who comes next has the same GPUs", LIMIT_SECONDS)
    assert instant(timelock, "short", "RELEASED") < instant(timelock, "follower", "PROVISIONING")
    assert timelock("serve", "--stop").out == "stopped\n"
    assert not serving(timelock.home)
    assert timelock("serve", "--stop").out == "none was running\n"


def test_a_window_grows_only_as_far_as_its_gpus_are_free(timelock: Cli, lab: Lab, tmp_path: Path) -> None:
    only = {"TIMELOCK_INVENTORY": str(write_inventory(tmp_path, lab, {lab.hosts[0].name: {}}))}
    cli = Cli(home=timelock.home, environment=only)
    first = write_request(tmp_path, "first", count=2, hosts=1)
    next_ns = time.time_ns() + 3 * 3600 * SECOND_NS
    second = write_request(tmp_path, "second", count=2, hosts=1, window=window(next_ns, "1h"))
    for request in (first, second):
        cli("book", request, "--yes", "--no-wait", "--no-serve")
    was = booking(cli, "first")
    cli("extend", "first", "--by", "30m")
    assert booking(cli, "first").end_ns == was.end_ns + 1800 * SECOND_NS
    refused = cli("extend", "first", "--by", "2h", code=4)
    assert "second" in refused.problems[0]
    assert booking(cli, "first").end_ns == was.end_ns + 1800 * SECOND_NS
    for words in (("--by", "-1h"), ("--until", "tomorrow"), ()):
        cli("extend", "first", *words, code=2)
    assert cli("release", "second", "--yes").out == "second is RELEASED\n"
    cli("extend", "first", "--by", "2h")


def window(start_ns: int, duration: str) -> dict[str, str]:
    return {"start": units.format_instant(start_ns // SECOND_NS * SECOND_NS), "duration": duration}


def booking(timelock: Cli, name: str) -> Booking:
    with Ledger(timelock.home.ledger_url) as ledger:
        return ledger.booking(name)


def claims(timelock: Cli, name: str) -> tuple[Claim, ...]:
    with Ledger(timelock.home.ledger_url) as ledger:
        return ledger.claims(ledger.booking(name).id)


def instant(timelock: Cli, name: str, state: str) -> int:
    """When the booking came to that state."""
    with Ledger(timelock.home.ledger_url) as ledger:
        lines = [event.line for event in ledger.events(ledger.booking(name).id)]
    return next(line.time_ns for line in lines if line.new == state)


def serve_pid(timelock: Cli) -> int:
    return int(json.loads(lock_path(timelock.home).read_text())["pid"])
