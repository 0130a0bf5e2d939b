"""What the control plane owes at an instant: pure. `serve` does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
"""How long an action rests after its first failure; twice as long after each further one."""
AGAIN_NS = 5 * 10**9
"""How long a booking rests after an opening that went well: one that has to wait for its GPUs is asked again."""
LONGEST_REST_NS = 10 * 60 * 10**9


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


def due(bookings: Iterable[Booking], now_ns: int, *, rests_until_ns: Mapping[str, int]) -> tuple[Due, ...]:
    """What is owed at `now_ns`, but not for bookings that rest; closing comes before opening."""
    owed = (_owed(booking, now_ns) for booking in bookings if now_ns >= rests_until_ns.get(booking.name, 0))
    ready = (item for item in owed if item)
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


def rest_ns(action: Action, failures: int) -> int:
    """How long a booking rests after an action that failed `failures` times running (0: it succeeded)."""
    if failures:
        return min(RETRY_NS << (failures - 1), LONGEST_REST_NS)
    return {Action.LOOK: LOOK_NS, Action.RESUME: AGAIN_NS, Action.RELEASE: 0}[action]
