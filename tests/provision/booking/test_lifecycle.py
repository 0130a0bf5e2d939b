"""Windows: one that grows costs more, to the second; one that follows another waits; one that is over opens nothing."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from provision.booking.desk import Desk
from provision.booking.ledger import Ledger
from provision.booking.lifecycle import LEAD_NS, advance, lengthened, waits
from provision.booking.model import Booking, BookingState
from provision.booking.repair import assert_claims
from provision.errors import Locked
from provision.home import Home
from provision.matching.model import PlannedHost
from provision.supply.model import Gpu
from tests.provision.booking.test_access import plan
from tests.provision.booking.test_survey import HOST

HOUR_NS = 3600 * 10**9


def test_a_longer_window_costs_in_proportion() -> None:
    gpu = Gpu(uuid="GPU-1", index=0, model="H100", memory_bytes=1, device="/dev/nvidia0")
    host = PlannedHost(host=replace(HOST, price_micros_per_gpu_hour=2_400_000), gpus=(gpu, replace(gpu, uuid="GPU-2")))
    longer = lengthened(replace(plan(), hosts=(host,), end_ns=HOUR_NS), 3 * HOUR_NS // 2)
    assert longer.end_ns == 3 * HOUR_NS // 2
    assert longer.price_micros == 7_200_000
    assert longer.hosts == (host,)


NOW_NS = 10**18
MINUTE_NS = 60 * 10**9


@pytest.fixture
def desk(home_here: Home) -> Iterator[Desk]:
    with Ledger(home_here.ledger_url) as ledger:
        yield Desk(home=home_here, ledger=ledger, actor="test", now_ns=lambda: NOW_NS)


def claimed(desk: Desk, name: str, start_ns: int, end_ns: int) -> Booking:
    """A booking of GPU g for that window, CLAIMED."""
    made = desk.ledger.accept(name, f"name: {name}", "digest", start_ns, end_ns, "image", start_ns)
    desk.ledger.claim(made.id, [("g", "h")], start_ns, end_ns)
    for state in (BookingState.PLANNED, BookingState.CLAIMED):
        made = desk.ledger.transition(made.id, state, "test", "", start_ns)
    return made


def test_a_booking_waits_for_the_one_before_it_however_near_its_window_is(desk: Desk) -> None:
    first = claimed(desk, "a", NOW_NS - MINUTE_NS, NOW_NS + MINUTE_NS)
    second = claimed(desk, "b", NOW_NS + MINUTE_NS, NOW_NS + 9 * MINUTE_NS)
    assert not waits(desk, first)
    assert waits(desk, second)
    assert advance(desk, second).booking.state is BookingState.CLAIMED
    with pytest.raises(Locked, match="expected its GPUs given back, found a on g of h"):
        assert_claims(desk, second)
    desk.ledger.release_claims(first.id, NOW_NS)
    assert not waits(desk, second)


def test_a_booking_waits_until_its_window_is_near(desk: Desk) -> None:
    assert waits(desk, claimed(desk, "a", NOW_NS + LEAD_NS + 1, NOW_NS + 2 * LEAD_NS))


def test_a_window_that_has_ended_opens_no_host(desk: Desk) -> None:
    late = claimed(desk, "a", NOW_NS - 2 * MINUTE_NS, NOW_NS - MINUTE_NS)
    assert advance(desk, late).booking.state is BookingState.RELEASED
    assert [event.line.reason for event in desk.ledger.events(late.id)][-1] == "the window has ended"
    assert desk.ledger.claims(late.id) == ()
