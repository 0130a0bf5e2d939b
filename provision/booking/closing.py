"""Taking a booking off its hosts: destroy the stack, then look for what a crash left outside its state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from provision.booking.quarantine import absorb_journal, set_aside
from provision.booking.records import plan_of
from provision.booking.stack import run_stack
from provision.booking.survey import connection_to
from provision.booking.workers import sweep
from provision.errors import HostFailed

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.model import Booking

FIRST_ROLE = "identity"
"""Made first and removed last: a host whose identity is removed has nothing of the booking any more."""
GONE = frozenset({"unreachable", "host_key"})


def erase(desk: Desk, booking: Booking) -> None:
    """Remove everything of the booking from its hosts; a host that cannot be reached goes to quarantine instead.

    Raises:
        HostFailed: a host that can be reached could not be cleared; its claims are kept.
    """
    outcome = run_stack(desk, booking, "destroy")
    absorb_journal(desk, booking)
    if outcome.failures:
        first = outcome.failures[0]
        raise _again(
            booking,
            HostFailed(host=first.host, step=first.step, cause=first.cause, kind=first.kind, next_step=first.next_step),
        )
    _sweep(desk, booking, {change.host for change in outcome.changes if change.role == FIRST_ROLE})


def _sweep(desk: Desk, booking: Booking, cleared: set[str]) -> None:
    """Clear the hosts that the stack did not: cut off between hosts and state, or of a state that was lost."""
    owing = desk.ledger.quarantined().items()
    aside = {host for host, found in owing if any(debt.booking_id == booking.id for debt in found.debts)}
    place = desk.place(booking.name)
    hosts = [p.host for p in plan_of(booking).hosts if p.host.name not in cleared | aside]
    if not hosts:
        return
    desk.phase("sweep", ", ".join(host.name for host in hosts))
    failed = asyncio.run(sweep({host.name: connection_to(host, place.known_hosts) for host in hosts}, booking.name))
    for host, failure in failed.items():
        if failure.kind not in GONE:
            raise _again(booking, failure)
        set_aside(desk, booking, host, f"could not be erased: {failure.cause}")


def _again(booking: Booking, failure: HostFailed) -> HostFailed:
    failure.next_step = failure.next_step or f"`timelock release {booking.name}` tries again"
    return failure
