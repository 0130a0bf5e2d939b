"""Hosts that are set aside: because they owe an erase, or because they are no longer known to be who they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provision.booking.progress import read_journal

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.model import Booking


def absorb_journal(desk: Desk, booking: Booking) -> None:
    """Take over what the provider wrote about hosts it could not erase; each line counts once, whatever crashes."""
    offset = desk.ledger.journal_offset(booking.id)
    owed: dict[str, list[Mapping[str, object]]] = {}
    for line in read_journal(desk.place(booking.name).journal, offset):
        offset = line.next_offset
        if line.value.get("event") == "quarantined":
            owed.setdefault(str(line.value["host"]), []).append(line.value)
    for host, debts in owed.items():
        _owes_erase(desk, booking, host, debts)
    desk.ledger.set_journal_offset(booking.id, offset)


def set_aside(desk: Desk, booking: Booking, host: str, reason: str) -> None:
    """Quarantine a host that still carries the booking: it is not booked again before it was erased."""
    desk.ledger.quarantine(host, reason, (f"booking {booking.name}",), booking.id, desk.now_ns(), actor=desk.actor)


def _owes_erase(desk: Desk, booking: Booking, host: str, debts: Sequence[Mapping[str, object]]) -> None:
    """One host, one event: its roles are what it owes, and the last cause is the reason."""
    roles = tuple(str(debt.get("role", "everything")) for debt in debts)
    reason = f"could not be erased: {debts[-1].get('cause', 'no cause given')}"
    desk.ledger.quarantine(host, reason, roles, booking.id, desk.now_ns(), actor=desk.actor)
