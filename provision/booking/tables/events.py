"""Rows of events: appended, read, and by the database's own rule never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, insert, select

from provision.booking.model import Event, EventLine
from provision.booking.tables import bookings
from provision.booking.tables.schema import EVENTS


def append(connection: Connection, booking_id: int | None, lines: Sequence[EventLine]) -> None:
    """Write event lines. The booking is locked first, so that `seq` is the order of commits within it."""
    if booking_id is not None:
        bookings.lock(connection, booking_id)
    if lines:
        connection.execute(insert(EVENTS), [asdict(line) | {"booking_id": booking_id} for line in lines])


def since(connection: Connection, booking_id: int | None, after_seq: int) -> tuple[Event, ...]:
    """Return the events after `after_seq` of one booking, or of all (None), oldest first."""
    query = select(EVENTS).where(EVENTS.c.seq > after_seq).order_by(EVENTS.c.seq)
    if booking_id is not None:
        query = query.where(EVENTS.c.booking_id == booking_id)
    return tuple(
        Event(
            seq=row.seq,
            booking_id=row.booking_id,
            line=EventLine(
                time_ns=row.time_ns, actor=row.actor, target=row.target, old=row.old, new=row.new, reason=row.reason
            ),
        )
        for row in connection.execute(query)
    )
