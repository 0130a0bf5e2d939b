"""Taking a booking off its hosts: destroy the stack, then look for what a crash left outside its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.booking.quarantine import absorb_journal
from provision.booking.stack import run_stack
from provision.errors import HostFailed

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.model import Booking


def erase(desk: Desk, booking: Booking) -> None:
    """Remove everything of the booking from its hosts; a host that cannot be reached goes to quarantine instead.

    Raises:
        HostFailed: a host that can be reached could not be cleared; its claims are kept.
    """
    outcome = run_stack(desk, booking, "destroy")
    absorb_journal(desk, booking)
    if outcome.failures:
        first = outcome.failures[0]
        raise HostFailed(
            host=first.host,
            step=first.step,
            cause=first.cause,
            kind=first.kind,
            next_step=first.next_step or f"`timelock release {booking.name}` tries again",
        )
