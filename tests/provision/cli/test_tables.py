"""What people read: windows in words, money and instants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.booking.model import Booking, BookingState
from provision.cli.tables import log_line, window_words

MINUTE = 60 * 10**9


def booking() -> Booking:
    return Booking(
        id=1,
        name="demo",
        state=BookingState.ACTIVE,
        request_digest="",
        request_text="",
        image="",
        plan=None,
        start_ns=100 * MINUTE,
        end_ns=220 * MINUTE,
        slot=0,
        created_ns=0,
        ended_ns=None,
        journal_offset=0,
    )


@pytest.mark.parametrize(
    ("now_ns", "words"),
    [
        (40 * MINUTE, "starts in 1h"),
        (100 * MINUTE, "2h left"),
        (220 * MINUTE - 30 * 10**9, "30s left"),
        (225 * MINUTE + 5, "ended 5m ago"),
    ],
)
def test_window_in_words(now_ns: int, words: str) -> None:
    assert window_words(booking(), now_ns) == words


def test_a_booking_that_was_given_back_has_no_time_left() -> None:
    assert window_words(replace(booking(), ended_ns=110 * MINUTE), 115 * MINUTE) == "over since 5m"


def test_a_log_line_names_host_role_and_step() -> None:
    value = {"time_ns": 0, "event": "step", "host": "a1", "role": "mesh", "step": "unit x", "state": "changed"}
    assert log_line(value) == "1970-01-01T00:00:00Z  a1  mesh  step  unit x  changed"


def test_a_log_line_is_one_line() -> None:
    assert log_line({"cause": "a\nb\x1b[2J"}) == "-  a · b\N{REPLACEMENT CHARACTER}[2J"
