"""The life of a booking: one function per arrow, and `advance`, which follows the arrows until nothing is owed.

Each arrow may be cut off anywhere by `kill -9`: what it did is found again (claims in the ledger, resources in the
stack's state, markers on the hosts), so that following it again converges. Whoever calls holds the booking's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provision import units
from provision.booking.errors import ClaimConflict
from provision.booking.model import Booking, BookingState
from provision.booking.secrets import ensure_secrets
from provision.errors import InvalidInput, NoCapacity

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.matching.model import Plan
    from provision.request.model import Accepted

LEAD_NS = 10 * 60 * 10**9
"""How long before T1 provisioning starts: a cold booking on slow hosts takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Where the booking stands now, and how many resources were changed on the way."""

    booking: Booking
    changes: int = 0


def accept(desk: Desk, wish: Accepted, plan: Plan, request_text: str) -> Booking:
    """→ REQUESTED → PLANNED → CLAIMED: enter the booking and hold its GPUs, all or none.

    Raises:
        ClaimConflict: somebody was faster; the booking is FAILED, its name and slot are free again.
    """
    now_ns = desk.now_ns()
    booking = desk.ledger.accept(
        wish.name, request_text, wish.request_digest, wish.start_ns, wish.end_ns, wish.image, now_ns, actor=desk.actor
    )
    return claim(desk, plan_booking(desk, booking, plan), plan)


def plan_booking(desk: Desk, booking: Booking, plan: Plan) -> Booking:
    """REQUESTED → PLANNED: the Plan is kept; from here on it is what is applied."""
    desk.ledger.set_plan(booking.id, plan.encode())
    desk.place(booking.name).plan.write_bytes(plan.encode())
    hosts = "1 host" if len(plan.hosts) == 1 else f"{len(plan.hosts)} hosts"
    return _move(desk, booking, BookingState.PLANNED, f"{hosts}, plan {plan.digest[:12]}")


def claim(desk: Desk, booking: Booking, plan: Plan) -> Booking:
    """PLANNED → CLAIMED: the GPUs of the Plan are held for the window, or the booking is FAILED."""
    gpus = [(gpu.uuid, planned.host.name) for planned in plan.hosts for gpu in planned.gpus]
    try:
        desk.ledger.claim(booking.id, gpus, booking.start_ns, booking.end_ns)
    except ClaimConflict as conflict:
        _move(desk, booking, BookingState.FAILED, str(conflict))
        raise
    ensure_secrets(desk.place(booking.name))
    return _move(desk, booking, BookingState.CLAIMED, f"{len(gpus)} GPUs held")


def provision(desk: Desk, booking: Booking) -> Result:
    """→ PROVISIONING → ACTIVE: make the hosts what the Plan says; dead ones are replaced, each at most once.

    Raises:
        HostFailed: a step failed on a host that lives, or its host key changed (then QUARANTINED).
        NoCapacity: a host died and nothing else fits.
    """
    from provision.booking.repair import converge

    booking = _move(desk, booking, BookingState.PROVISIONING, "provisioning begins")
    booking, changes = converge(desk, booking)
    return Result(booking=_move(desk, booking, BookingState.ACTIVE, "all hosts accepted"), changes=changes)


def check(desk: Desk, booking: Booking) -> Result:
    """ACTIVE → ACTIVE, through PROVISIONING if anything had to be repaired: what differs is put right."""
    from provision.booking.repair import converge, differs

    if not differs(desk, booking):
        return Result(booking=booking)
    booking = _move(desk, booking, BookingState.PROVISIONING, "hosts differ from the plan")
    booking, changes = converge(desk, booking)
    return Result(booking=_move(desk, booking, BookingState.ACTIVE, "repaired and accepted"), changes=changes)


def close(desk: Desk, booking: Booking) -> Result:
    """CLOSING → SETTLED: take everything off the hosts; what cannot be reached owes its erase, in quarantine."""
    from provision.booking.closing import erase

    erase(desk, booking)
    return Result(booking=_move(desk, booking, BookingState.SETTLED, "hosts given back"))


def release(desk: Desk, booking: Booking) -> Result:
    """SETTLED → RELEASED: the claims are released, and with them name and slot."""
    return Result(booking=_over(desk, booking))


ARROWS: Mapping[BookingState, Callable[[Desk, Booking], Result]] = {
    BookingState.CLAIMED: provision,
    BookingState.PROVISIONING: provision,
    BookingState.QUARANTINED: provision,
    BookingState.ACTIVE: check,
    BookingState.CLOSING: close,
    BookingState.SETTLED: release,
}


OPEN = frozenset({BookingState.CLAIMED, BookingState.PROVISIONING, BookingState.QUARANTINED, BookingState.ACTIVE})
"""The states in which a booking has, or waits for, its hosts."""


def advance(desk: Desk, booking: Booking) -> Result:
    """Follow the arrows until the booking is ACTIVE, RELEASED or FAILED, or has to wait; past its end, to RELEASED."""
    changes = 0
    while True:
        if desk.now_ns() >= booking.end_ns and booking.state in OPEN:
            booking = begin_close(desk, booking, "the window has ended")
        arrow = ARROWS.get(booking.state)
        if arrow is None or waits(desk, booking):
            break
        was_active = booking.state is BookingState.ACTIVE
        result = arrow(desk, booking)
        booking, changes = result.booking, changes + result.changes
        if was_active or booking.state is BookingState.ACTIVE:
            break
    return Result(booking=booking, changes=changes)


def waits(desk: Desk, booking: Booking) -> bool:
    """Whether a claimed booking's window is too far away to provision, or somebody before it is still on its GPUs."""
    if booking.state is not BookingState.CLAIMED:
        return False
    return desk.now_ns() < booking.start_ns - LEAD_NS or bool(desk.ledger.in_front(booking.id))


def begin_close(desk: Desk, booking: Booking, reason: str) -> Booking:
    """Any live state → the way out: CLOSING when something may be on hosts, RELEASED when nothing can be."""
    match booking.state:
        case BookingState.REQUESTED | BookingState.PLANNED | BookingState.CLAIMED:
            return _over(desk, booking, reason)
        case BookingState.CLOSING | BookingState.SETTLED | BookingState.RELEASED:
            return booking
        case _:
            return _move(desk, booking, BookingState.CLOSING, reason)


def extend(desk: Desk, booking: Booking, end_ns: int) -> Booking:
    """Move the end of the window and of every claim later; the Plan's price follows.

    Raises:
        ClaimConflict: a GPU is booked by somebody else in the added time; nothing is changed.
        NoCapacity: the longer window would cost more than the request allows; nothing is changed.
        InvalidInput: the new end is not later than the old one, or the window has ended, or the booking is closing.
    """
    from provision.booking.records import plan_of

    if booking.state in {BookingState.CLOSING, BookingState.SETTLED, BookingState.RELEASED} or booking.plan is None:
        raise InvalidInput((f"{booking.name}: expected a booking with hosts, found one that is {booking.state}",))
    if desk.now_ns() >= booking.end_ns:
        ended = units.format_instant(booking.end_ns)
        raise InvalidInput((f"{booking.name}: expected a window that has not ended, found one that ended {ended}",))
    old_plan = plan_of(booking)
    plan = lengthened(old_plan, end_ns)
    _within_price(booking, plan)
    moved = desk.ledger.extend_claims(booking.id, end_ns)
    if end_ns == booking.end_ns == old_plan.end_ns:
        return moved
    desk.ledger.set_plan(booking.id, plan.encode())
    desk.place(booking.name).plan.write_bytes(plan.encode())
    old, new = units.format_instant(booking.end_ns), units.format_instant(end_ns)
    desk.ledger.event(booking.id, desk.actor, booking.name, old, new, "window extended", desk.now_ns())
    return desk.ledger.booking(booking.id)


def lengthened(plan: Plan, end_ns: int) -> Plan:
    """The same hosts up to another end, and what they then cost."""
    from provision.matching.price import total_micros

    rate = sum(p.host.price_micros_per_gpu_hour * len(p.gpus) for p in plan.hosts)
    seconds = -((plan.start_ns - end_ns) // 10**9)
    return replace(plan, end_ns=end_ns, price_micros=total_micros(rate, seconds))


def _within_price(booking: Booking, plan: Plan) -> None:
    from provision.booking.records import wish_of

    most = wish_of(booking).price.max_total_micros
    if most is not None and plan.price_micros > most:
        cost, limit = (units.format_money(micros, plan.currency) for micros in (plan.price_micros, most))
        raise NoCapacity(
            f"{booking.name}: expected a price of at most {limit} (price.max_total), found {cost} up to that end",
            next_step="choose an earlier end, or book the time after this window with a request of its own",
        )


def _over(desk: Desk, booking: Booking, reason: str = "") -> Booking:
    """→ RELEASED: nothing is held any more, and no secret kept."""
    count = desk.ledger.release_claims(booking.id, desk.now_ns())
    desk.place(booking.name).forget_secrets()
    return _move(desk, booking, BookingState.RELEASED, reason or f"{count} GPUs released")


def _move(desk: Desk, booking: Booking, state: BookingState, reason: str) -> Booking:
    moved = desk.ledger.transition(booking.id, state, desk.actor, reason, desk.now_ns(), expected=booking.state)
    desk.phase(str(state).lower(), reason)
    return moved
