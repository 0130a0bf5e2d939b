"""Looking: hosts that are none, JSON that stays JSON."""

from __future__ import annotations

import json

import pytest

from provision.booking.ledger import Ledger
from provision.booking.model import BookingState
from provision.home import Home
from tests.fakes.cli import Cli


@pytest.fixture
def timelock(home_here: Home) -> Cli:
    """A home with one booking, `demo`, that is over."""
    with Ledger(home_here.ledger_url) as ledger:
        booking = ledger.accept("demo", "", "digest", 10, 20, "image", 5, actor="a\nb")
        ledger.transition(booking.id, BookingState.RELEASED, "me", "done", 6)
    return Cli(home=home_here)


def test_followed_events_are_json_too(timelock: Cli) -> None:
    lines = timelock("events", "demo", "--json", "--follow").out.splitlines()
    assert [json.loads(line)["new"] for line in lines] == ["REQUESTED", "RELEASED"]


def test_an_event_is_one_line(timelock: Cli) -> None:
    assert len(timelock("events", "demo").out.splitlines()) == 2


def test_logs_of_a_host_that_is_none(timelock: Cli) -> None:
    assert timelock("logs", "demo", "--host", "a9", code=2).problems == [
        "demo: expected one of its hosts (none yet), found 'a9'"
    ]


def test_a_locale_without_our_letters(timelock: Cli) -> None:
    plain = Cli(home=timelock.home, environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert "REQUESTED ? RELEASED" in plain("status", "demo").out


def test_watching_and_json_exclude_each_other(timelock: Cli) -> None:
    timelock("status", "demo", "--watch", "--json", code=2)
