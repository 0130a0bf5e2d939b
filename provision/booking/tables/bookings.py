"""Rows of bookings: entering one, finding it, moving it along the arrows of its life."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, desc, insert, select, update

from provision.booking.errors import IllegalTransition, NameTaken, NoSuchBooking, NotLive
from provision.booking.model import Booking, BookingState, follows
from provision.booking.tables.schema import BOOKINGS
from provision.booking.turns import Turn, take_turn
from provision.errors import MachineCannot


def enter(
    connection: Connection,
    *,
    name: str,
    request_text: str,
    request_digest: str,
    image: str,
    start_ns: int,
    end_ns: int,
    now_ns: int,
) -> Booking:
    """Insert a booking as REQUESTED with the smallest slot that no live booking has. Raises NameTaken."""
    take_turn(connection, Turn.ACCEPT)
    live = connection.execute(select(BOOKINGS.c.name, BOOKINGS.c.slot).where(BOOKINGS.c.ended_ns.is_(None))).all()
    if any(row.name == name for row in live):
        raise NameTaken(name)
    statement = insert(BOOKINGS).values(
        name=name,
        state=str(BookingState.REQUESTED),
        request_digest=request_digest,
        request_text=request_text,
        image=image,
        start_ns=start_ns,
        end_ns=end_ns,
        slot=smallest_free({row.slot for row in live}),
        created_ns=now_ns,
        journal_offset=0,
    )
    return _one(connection.execute(statement.returning(*BOOKINGS.c)).one())


def smallest_free(used: set[int]) -> int:
    """Return the smallest number, from 0, that is not in `used`."""
    return next(slot for slot in range(len(used) + 1) if slot not in used)


def find(connection: Connection, key: str | int) -> Booking | None:
    """Return the booking of this id, or the live (else the newest) of this name."""
    query = select(BOOKINGS)
    if isinstance(key, int):
        query = query.where(BOOKINGS.c.id == key)
    else:
        query = query.where(BOOKINGS.c.name == key).order_by(BOOKINGS.c.ended_ns.is_not(None), desc(BOOKINGS.c.id))
    row = connection.execute(query.limit(1)).one_or_none()
    return _one(row) if row is not None else None


def listed(connection: Connection, *, live_only: bool) -> tuple[Booking, ...]:
    """Return the live bookings, or all, oldest first."""
    query: Select[Any] = select(BOOKINGS).order_by(BOOKINGS.c.id)
    if live_only:
        query = query.where(BOOKINGS.c.ended_ns.is_(None))
    return tuple(_one(row) for row in connection.execute(query))


def lock(connection: Connection, booking_id: int) -> Booking:
    """Return the booking and keep other writers off it until the transaction ends. Raises NoSuchBooking."""
    row = connection.execute(select(BOOKINGS).where(BOOKINGS.c.id == booking_id).with_for_update()).one_or_none()
    if row is None:
        raise NoSuchBooking(booking_id)
    return _one(row)


def lock_live(connection: Connection, booking_id: int) -> Booking:
    """`lock` a booking that is not over. Raises NotLive, NoSuchBooking."""
    booking = lock(connection, booking_id)
    if not booking.live:
        raise NotLive(booking.name, booking.state)
    return booking


def change(connection: Connection, booking_id: int, **values: int | bytes) -> Booking:
    """Set columns of a booking. Raises NoSuchBooking."""
    statement = update(BOOKINGS).where(BOOKINGS.c.id == booking_id).values(**values).returning(*BOOKINGS.c)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise NoSuchBooking(booking_id)
    return _one(row)


def move(connection: Connection, booking: Booking, new: BookingState, now_ns: int, *, holding: bool) -> Booking:
    """Draw the arrow to `new`, if there is one and the booking still stands where `booking` says.

    RELEASED is refused while claims are held (`holding`); RELEASED, and FAILED that holds nothing, end the booking.
    Raises IllegalTransition.
    """
    if not follows(booking.state, new) or not (booking.live or new is BookingState.RELEASED):
        raise IllegalTransition(booking.name, booking.state, new)
    if new is BookingState.RELEASED and holding:
        raise IllegalTransition(booking.name, booking.state, new, because="it still holds claims")
    over = new is BookingState.RELEASED or (new is BookingState.FAILED and not holding)
    ended_ns = booking.ended_ns if booking.ended_ns is not None else (now_ns if over else None)
    statement = (
        update(BOOKINGS)
        .where(BOOKINGS.c.id == booking.id, BOOKINGS.c.state == str(booking.state))
        .values(state=str(new), ended_ns=ended_ns)
    )
    row = connection.execute(statement.returning(*BOOKINGS.c)).one_or_none()
    if row is None:
        raise IllegalTransition(booking.name, booking.state, new, because="somebody else moved it meanwhile")
    return _one(row)


def _one(row: Row[Any]) -> Booking:
    fields = dict(row._mapping)
    try:
        fields["state"] = BookingState(fields["state"])
    except ValueError as error:
        raise MachineCannot(
            f"ledger: booking {fields['id']}: expected a known state, found {fields['state']!r}",
            next_step="the ledger is damaged, or was changed by hand: restore its newest backup",
        ) from error
    return Booking(**fields)
