"""Taking a host back from quarantine: what bookings that are over left on it is erased first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from provision.booking.records import plan_of
from provision.booking.survey import connection_to, pin_host_keys
from provision.booking.workers import sweep
from provision.errors import InvalidInput

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.model import Booking
    from provision.supply.model import Host


def restore(desk: Desk, host: str, reason: str) -> tuple[str, ...]:
    """Erase what the host owes and end its quarantine; returns the bookings that were erased.

    Raises:
        InvalidInput: a booking that is still live uses it.
        HostFailed: it cannot be reached, or its key is not the pinned one; it stays in quarantine.
    """
    owing = [desk.ledger.booking(debt.booking_id) for debt in desk.ledger.quarantined()[host].debts if debt.booking_id]
    for booking in owing:
        if booking.live and any(p.host.name == host for p in plan_of(booking).hosts):
            raise InvalidInput(
                (f"{host}: booking {booking.name!r} still uses it",), next_step="release that booking first"
            )
    for booking in owing:
        _erase(_host_of(desk, booking, host), booking)
    desk.ledger.restore(host, desk.actor, reason, desk.now_ns())
    return tuple(booking.name for booking in owing)


def _erase(host: Host, booking: Booking) -> None:
    with TemporaryDirectory() as scratch:
        known_hosts = Path(scratch) / "known_hosts"
        pin_host_keys((host,), known_hosts)
        failed = asyncio.run(sweep({host.name: connection_to(host, known_hosts)}, booking.name))
    for failure in failed.values():
        raise failure


def _host_of(desk: Desk, booking: Booking, name: str) -> Host:
    """The host as the inventory describes it now (its key may have been stated anew), else as it was planned."""
    from provision.booking.records import supply_of

    listed = [host for host in supply_of(desk.home, booking.name).hosts if host.name == name]
    planned = [planned.host for planned in plan_of(booking).hosts if planned.host.name == name]
    if not listed + planned:
        raise InvalidInput((f"{name}: expected it in the inventory of booking {booking.name!r}, found no such host",))
    return (listed + planned)[0]
