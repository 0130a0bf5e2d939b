"""What the control plane owes at an instant: pure. `serve` does it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from provision.booking.lifecycle import LEAD_NS
from provision.booking.model import BookingState

if TYPE_CHECKING:
    from provision.booking.model import Booking


LOOK_NS = 15 * 10**9
"""How often the hosts of an ACTIVE booking are looked at: do they still answer on SSH?"""
RETRY_NS = 30 * 10**9
"""How long a failed action rests before it is tried again."""


class Action(StrEnum):
    """What may be due for a booking."""

    RELEASE = "release"
    RESUME = "resume"
    LOOK = "look"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One action for one booking, and why."""

    booking: str
    action: Action
    reason: str


def due(bookings: Iterable[Booking], now_ns: int, *, tried_ns: dict[str, int]) -> tuple[Due, ...]:
    """What is owed at `now_ns`, given when each booking was last acted upon; closing comes before opening."""
    owed = (_owed(booking, now_ns) for booking in bookings)
    ready = (item for item in owed if item and now_ns - tried_ns.get(item.booking, 0) >= _rest_ns(item))
    return tuple(sorted(ready, key=lambda item: (list(Action).index(item.action), item.booking)))


def _owed(booking: Booking, now_ns: int) -> Due | None:
    match booking.state:
        case BookingState.RELEASED | BookingState.REQUESTED | BookingState.PLANNED:
            return None
        case BookingState.CLOSING | BookingState.SETTLED:
            return Due(booking=booking.name, action=Action.RELEASE, reason="closing was begun")
        case _ if now_ns >= booking.end_ns:
            return Due(booking=booking.name, action=Action.RELEASE, reason="the window has ended")
        case BookingState.CLAIMED if now_ns >= booking.start_ns - LEAD_NS:
            return Due(booking=booking.name, action=Action.RESUME, reason="the window opens soon")
        case BookingState.PROVISIONING:
            return Due(booking=booking.name, action=Action.RESUME, reason="provisioning was begun")
        case BookingState.ACTIVE:
            return Due(booking=booking.name, action=Action.LOOK, reason="a regular look at its hosts")
        case _:
            return None


def _rest_ns(item: Due) -> int:
    return LOOK_NS if item.action is Action.LOOK else RETRY_NS
