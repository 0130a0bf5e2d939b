"""What is owed at an instant: a table of cases, and that closing comes first."""

from __future__ import annotations

import pytest

from provision.booking.lifecycle import LEAD_NS
from provision.booking.model import Booking, BookingState
from provision.control.schedule import LONGEST_REST_NS, LOOK_NS, RETRY_NS, Action, due, rest_ns

HOUR = 3600 * 10**9
START, END = 100 * HOUR, 102 * HOUR


def booking(state: BookingState, name: str = "demo") -> Booking:
    return Booking(
        id=1,
        name=name,
        state=state,
        request_digest="",
        request_text="",
        image="",
        plan=None,
        start_ns=START,
        end_ns=END,
        slot=0,
        created_ns=0,
        ended_ns=None,
        journal_offset=0,
    )


@pytest.mark.parametrize(
    ("state", "now_ns", "action"),
    [
        (BookingState.CLAIMED, START - LEAD_NS - 1, None),
        (BookingState.CLAIMED, START - LEAD_NS, Action.RESUME),
        (BookingState.PROVISIONING, START, Action.RESUME),
        (BookingState.ACTIVE, START + 1, Action.LOOK),
        (BookingState.ACTIVE, END - 1, Action.LOOK),
        (BookingState.ACTIVE, END, Action.RELEASE),
        (BookingState.CLAIMED, END, Action.RELEASE),
        (BookingState.QUARANTINED, START, None),
        (BookingState.QUARANTINED, END, Action.RELEASE),
        (BookingState.CLOSING, START, Action.RELEASE),
        (BookingState.SETTLED, START, Action.RELEASE),
        (BookingState.REQUESTED, START, None),
    ],
)
def test_owed(state: BookingState, now_ns: int, action: Action | None) -> None:
    found = due([booking(state)], now_ns, rests_until_ns={})
    assert [item.action for item in found] == ([action] if action else [])


def test_a_booking_that_rests_is_left_alone() -> None:
    closing = [booking(BookingState.CLOSING)]
    assert due(closing, START - 1, rests_until_ns={"demo": START}) == ()
    assert len(due(closing, START, rests_until_ns={"demo": START})) == 1
    assert len(due(closing, START - 1, rests_until_ns={"other": START})) == 1


def test_each_failure_rests_twice_as_long_up_to_a_limit() -> None:
    rests = [rest_ns(Action.RESUME, failures) for failures in range(1, 12)]
    assert rests[:3] == [RETRY_NS, 2 * RETRY_NS, 4 * RETRY_NS]
    assert rests[-1] == LONGEST_REST_NS
    assert rest_ns(Action.LOOK, 0) == LOOK_NS
    assert rest_ns(Action.RELEASE, 0) == 0 < rest_ns(Action.RESUME, 0)


def test_closing_comes_before_opening() -> None:
    found = due([booking(BookingState.PROVISIONING, "a"), booking(BookingState.CLOSING, "b")], START, rests_until_ns={})
    assert [item.booking for item in found] == ["b", "a"]
