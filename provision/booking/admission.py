"""Admission: the hosts of a booking are tried together before it becomes ACTIVE, and counted one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.model import Booking


def admit(desk: Desk, booking: Booking) -> None:
    """Try all hosts."""
