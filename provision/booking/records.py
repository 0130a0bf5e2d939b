"""What the ledger and the booking's directory keep, as the values that the rest works with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import MachineCannot
from provision.matching.model import Plan
from provision.request.parse import parse

if TYPE_CHECKING:
    from provision.booking.model import Booking
    from provision.home import Home
    from provision.request.model import Accepted
    from provision.supply.model import Supply


def plan_of(booking: Booking) -> Plan:
    """The Plan that is applied.

    Raises:
        MachineCannot: there is none, or its bytes are damaged.
    """
    if booking.plan is None:
        raise MachineCannot(
            f"{booking.name}: expected a plan in the ledger, found none", next_step="release and book again"
        )
    return Plan.decode(booking.plan)


def wish_of(booking: Booking) -> Accepted:
    """The request as it was accepted, with the window that holds now (it may have been extended)."""
    request = parse(booking.request_text, "accepted request")
    return replace(request.accept(booking.start_ns, booking.image), end_ns=booking.end_ns)


def supply_of(home: Home, name: str) -> Supply:
    """The supply that the booking called `name` was matched against, read anew."""
    from provision.supply.inventory import read_inventory

    return read_inventory(Path(home.booking(name).inventory.read_text().strip()), cache_dir=home.cache / "inventories")
