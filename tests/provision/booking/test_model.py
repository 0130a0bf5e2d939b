"""The life of a booking, as a table: where it can go, and that it can always end."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.booking.model import ARROWS, BookingState, Claim, Debt, Quarantine, follows

INSTANTS = st.integers(min_value=0, max_value=8)
WINDOWS = st.tuples(INSTANTS, INSTANTS).filter(lambda window: window[0] < window[1])
UNDERWAY = sorted(set(BookingState) - {BookingState.RELEASED, BookingState.FAILED})


def test_every_state_has_its_arrows() -> None:
    assert set(ARROWS) == set(BookingState)


def test_the_straight_way_leads_from_request_to_release() -> None:
    way = ["REQUESTED", "PLANNED", "CLAIMED", "PROVISIONING", "ACTIVE", "CLOSING", "SETTLED", "RELEASED"]
    assert all(follows(BookingState(old), BookingState(new)) for old, new in pairwise(way))


@pytest.mark.parametrize("state", UNDERWAY)
def test_whatever_is_under_way_can_fail(state: BookingState) -> None:
    assert follows(state, BookingState.FAILED)


@pytest.mark.parametrize("state", sorted(BookingState))
def test_every_state_leads_to_release(state: BookingState) -> None:
    reached = {state}
    while (more := {new for old in reached for new in ARROWS[old]} | reached) != reached:
        reached = more
    assert BookingState.RELEASED in reached


def test_released_is_the_end() -> None:
    assert not ARROWS[BookingState.RELEASED]


def test_only_what_is_resumed_follows_itself() -> None:
    assert {state for state in BookingState if follows(state, state)} == {
        BookingState.PROVISIONING,
        BookingState.CLOSING,
    }


@given(WINDOWS, WINDOWS)
def test_claims_overlap_when_they_share_an_instant(one: tuple[int, int], other: tuple[int, int]) -> None:
    shared = set(range(*one)) & set(range(*other))
    assert claim("g", one).overlaps(claim("g", other)) is bool(shared)


@given(WINDOWS)
def test_claims_of_two_gpus_never_overlap(window: tuple[int, int]) -> None:
    assert not claim("g", window).overlaps(claim("h", window))


def test_a_quarantine_sums_up_its_debts() -> None:
    debts = (
        Debt(booking_id=1, reason="unreachable", owed=("engine", "mesh"), since_ns=5),
        Debt(booking_id=2, reason="unreachable", owed=("mesh",), since_ns=4),
    )
    quarantine = Quarantine(host="h", debts=debts)
    assert (quarantine.reason, quarantine.owed, quarantine.since_ns) == ("unreachable", ("engine", "mesh"), 4)


def test_model_and_errors_load_no_database() -> None:
    code = "import sys, provision.booking.model, provision.booking.errors; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def claim(gpu: str, window: tuple[int, int]) -> Claim:
    return Claim(gpu_uuid=gpu, host="h", booking="b", start_ns=window[0], end_ns=window[1])
