"""Making the hosts what the Plan says: apply, replace what is lost, and so on until every host is accepted.

A host that cannot be reached any more is lost: another that fits takes its place, and nothing else moves. A host whose
key changed is set aside and waits for a person. Any other failure on a host that lives is told, and nothing is undone:
`resume` goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from provision.booking.admission import admit
from provision.booking.model import Booking, BookingState
from provision.booking.proposal import propose
from provision.booking.quarantine import absorb_journal, set_aside
from provision.booking.records import plan_of, supply_of, wish_of
from provision.booking.stack import run_stack, state_is_there
from provision.errors import HostFailed, Locked, MachineCannot

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.matching.model import Plan
    from stacks.engine import Failure

LOST = frozenset({"unreachable"})
UNTRUSTED = frozenset({"host_key"})


def converge(desk: Desk, booking: Booking) -> tuple[Booking, int]:
    """Apply the Plan and admit the hosts, replacing lost ones; returns the booking and how many resources changed.

    It ends: every round succeeds, raises, or loses a host, of which the supply has finitely many.

    Raises:
        HostFailed: a step failed on a host that lives, or a host's key changed (the booking is then QUARANTINED).
        NoCapacity: a host was lost and none that is left fits.
    """
    changes = 0
    if aside := _set_aside_before(desk, booking):
        booking = replace_hosts(desk, booking, aside)
    while True:
        assert_claims(desk, booking)
        outcome = run_stack(desk, booking, "up")
        absorb_journal(desk, booking)
        changes += outcome.changed
        _stop_if_untrusted(desk, booking, outcome.failures)
        lost = lost_hosts(outcome.failures)
        if not lost:
            _raise_first(booking, outcome.failures)
            admit(desk, booking)
            return booking, changes
        booking = replace_hosts(desk, booking, lost)


def assert_claims(desk: Desk, booking: Booking) -> None:
    """Refuse to touch a host of which the booking does not hold every planned GPU for its whole window, alone.

    Raises:
        MachineCannot: ledger and Plan contradict each other; nothing is done on any host.
        Locked: an earlier booking is still on one of the GPUs.
    """
    if others := desk.ledger.in_front(booking.id):
        first = others[0]
        raise Locked(
            f"{booking.name}: expected its GPUs given back, found {first.booking} on {first.gpu_uuid} of {first.host}",
            next_step=f"`timelock resume {booking.name}` once `timelock status {first.booking}` says RELEASED",
        )
    held = {claim.gpu_uuid for claim in desk.ledger.claims(booking.id) if claim.end_ns >= booking.end_ns}
    if missing := sorted(set(_gpus(plan_of(booking))) - held):
        raise MachineCannot(
            f"{booking.name}: expected a claim of every GPU of the plan, found none of {', '.join(missing)}",
            next_step=f"`timelock release {booking.name}` and book again; report it",
        )


def differs(desk: Desk, booking: Booking) -> bool:
    """Whether any host of an ACTIVE booking differs from the Plan or is lost, or the stack's state is gone."""
    if not state_is_there(desk, booking):
        return True
    outcome = run_stack(desk, booking, "drift")
    return bool(outcome.changed or outcome.failures)


def lost_hosts(failures: Iterable[Failure]) -> tuple[str, ...]:
    """The hosts that could not be reached, sorted."""
    return tuple(sorted({failure.host for failure in failures if failure.kind in LOST}))


def replace_hosts(desk: Desk, booking: Booking, lost: tuple[str, ...]) -> Booking:
    """Put others in the place of `lost`, in ledger and Plan; the hosts that are left stay, in their order.

    Raises:
        NoCapacity: nothing else fits; nothing was changed, so that a host which comes back is taken up again.
    """
    old = plan_of(booking)
    desk.phase("replace", ", ".join(lost))
    new = propose(
        desk,
        wish_of(booking),
        supply_of(desk.home, booking.name),
        desk.place(booking.name).known_hosts,
        keep=tuple(p.host.name for p in old.hosts if p.host.name not in lost),
        held=frozenset(claim.gpu_uuid for claim in desk.ledger.claims(booking.id)),
        excluded=dict.fromkeys(lost, "unreachable"),
    )
    for host in lost:
        set_aside(desk, booking, host, "lost: it could not be reached")
    return adopt(desk, booking, old, new, lost)


def adopt(desk: Desk, booking: Booking, old: Plan, new: Plan, lost: tuple[str, ...]) -> Booking:
    """Make `new` the booking's Plan: claims in one transaction, then the Plan, then one event line a host."""
    before, after = _gpus(old), _gpus(new)
    added = [(uuid, host) for uuid, host in after.items() if uuid not in before]
    given_back = [uuid for uuid in before if uuid not in after]
    desk.ledger.replace_claims(booking.id, given_back, added, start_ns=max(booking.start_ns, desk.now_ns()))
    desk.ledger.set_plan(booking.id, new.encode())
    desk.place(booking.name).plan.write_bytes(new.encode())
    fresh = ", ".join(sorted({host for _, host in added}))
    for host in lost:
        was_head = host == old.hosts[0].host.name
        what = "head lost: Ray is made anew on all hosts" if was_head else "lost: only it is replaced"
        desk.ledger.event(booking.id, desk.actor, booking.name, host, fresh, what, desk.now_ns())
    return desk.ledger.booking(booking.id)


def _set_aside_before(desk: Desk, booking: Booking) -> tuple[str, ...]:
    """The hosts of the Plan that were set aside because of this booking, and not yet replaced."""
    aside = desk.ledger.quarantined()
    hosts = (planned.host.name for planned in plan_of(booking).hosts)
    return tuple(h for h in hosts if h in aside and any(debt.booking_id == booking.id for debt in aside[h].debts))


def _gpus(plan: Plan) -> dict[str, str]:
    return {gpu.uuid: planned.host.name for planned in plan.hosts for gpu in planned.gpus}


def _stop_if_untrusted(desk: Desk, booking: Booking, failures: Iterable[Failure]) -> None:
    """Set aside each host whose key changed, and stop the booking until a person decides."""
    untrusted = [failure for failure in failures if failure.kind in UNTRUSTED]
    for failure in untrusted:
        set_aside(desk, booking, failure.host, f"host key changed: {failure.cause}")
    if untrusted:
        reason = f"{untrusted[0].host}: host key changed"
        desk.ledger.transition(booking.id, BookingState.QUARANTINED, desk.actor, reason, desk.now_ns())
        raise _failed(
            untrusted[0],
            f"find out why; `timelock resume {booking.name}` puts another host in its place, "
            f"`timelock release {booking.name}` gives the booking up",
        )


def _raise_first(booking: Booking, failures: tuple[Failure, ...]) -> None:
    if failures:
        more = f" ({len(failures) - 1} more: `timelock logs {booking.name}`)" if len(failures) > 1 else ""
        raise _failed(failures[0], failures[0].next_step or f"`timelock resume {booking.name}` goes on from here", more)


def _failed(failure: Failure, next_step: str, more: str = "") -> HostFailed:
    return HostFailed(
        host=failure.host, step=failure.step, cause=failure.cause + more, kind=failure.kind, next_step=next_step
    )
