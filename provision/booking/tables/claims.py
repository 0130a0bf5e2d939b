"""Rows of claims: holding GPUs for a time, all or none.

That claims of one GPU do not overlap is enforced by the database (triggers on SQLite, an exclusion constraint on
PostgreSQL); this module only turns its refusal into names. Rows are written in turns and in the order of GPU UUIDs, so
that contenders wait for one another and not each for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from provision.booking.database_errors import TryAgain, is_overlap
from provision.booking.errors import ClaimConflict
from provision.booking.model import Booking, Claim
from provision.booking.tables.schema import BOOKINGS, CLAIMS
from provision.booking.turns import Turn, take_turn

_WITH_NAMES = select(
    CLAIMS.c.gpu_uuid, CLAIMS.c.host, BOOKINGS.c.name.label("booking"), CLAIMS.c.start_ns, CLAIMS.c.end_ns
).join(BOOKINGS, BOOKINGS.c.id == CLAIMS.c.booking_id)


def hold(
    connection: Connection, booking: Booking, gpus: Sequence[tuple[str, str]], start_ns: int, end_ns: int
) -> tuple[Claim, ...]:
    """Claim each (GPU, host) that the booking does not hold so already; return all its claims. Raises ClaimConflict."""
    before = held(connection, booking.id)
    wanted = [
        Claim(gpu_uuid=uuid, host=host, booking=booking.name, start_ns=start_ns, end_ns=end_ns)
        for uuid, host in sorted(gpus)
    ]
    missing = [claim for claim in wanted if claim not in before]
    otherwise = {claim.gpu_uuid for claim in missing}
    if clash := tuple(claim for claim in before if claim.gpu_uuid in otherwise):
        raise ClaimConflict(clash)
    rows = [
        {"booking_id": booking.id, "gpu_uuid": c.gpu_uuid, "host": c.host, "start_ns": c.start_ns, "end_ns": c.end_ns}
        for c in missing
    ]
    if rows:
        _write(connection, lambda: connection.execute(insert(CLAIMS).values(rows)), missing, but=None)
    return held(connection, booking.id)


def extend(connection: Connection, booking: Booking, new_end_ns: int) -> None:
    """Move the end of all claims of the booking. Raises ClaimConflict."""
    before = held(connection, booking.id)
    wanted = [
        Claim(gpu_uuid=c.gpu_uuid, host=c.host, booking=c.booking, start_ns=c.start_ns, end_ns=new_end_ns)
        for c in before
    ]

    def write() -> None:
        for claim in before:
            ours = (CLAIMS.c.booking_id == booking.id, CLAIMS.c.gpu_uuid == claim.gpu_uuid)
            connection.execute(update(CLAIMS).where(*ours).values(end_ns=new_end_ns))

    _write(connection, write, wanted, but=booking.id)


def drop(connection: Connection, booking_id: int, gpus: Collection[str] | None) -> int:
    """Give back these GPUs (None: all) of the booking; return how many it held."""
    statement = delete(CLAIMS).where(CLAIMS.c.booking_id == booking_id)
    if gpus is not None:
        statement = statement.where(CLAIMS.c.gpu_uuid.in_(gpus))
    return connection.execute(statement).rowcount


def held(connection: Connection, booking_id: int) -> tuple[Claim, ...]:
    """Return the claims of a booking, ordered by GPU."""
    query = _WITH_NAMES.where(CLAIMS.c.booking_id == booking_id)
    return tuple(sorted(_one(row) for row in connection.execute(query)))


def taken(connection: Connection, start_ns: int, end_ns: int) -> frozenset[str]:
    """Return the GPUs that any claim holds at any time within [start_ns, end_ns)."""
    query = select(CLAIMS.c.gpu_uuid).where(CLAIMS.c.start_ns < end_ns, CLAIMS.c.end_ns > start_ns)
    return frozenset(connection.execute(query).scalars())


def in_front(connection: Connection, booking_id: int) -> tuple[Claim, ...]:
    """Return the claims of others, on GPUs that the booking holds, which begin earlier: not given back as yet."""
    ours = select(CLAIMS.c.gpu_uuid, CLAIMS.c.start_ns).where(CLAIMS.c.booking_id == booking_id).subquery()
    query = _WITH_NAMES.join(ours, ours.c.gpu_uuid == CLAIMS.c.gpu_uuid).where(
        CLAIMS.c.booking_id != booking_id, CLAIMS.c.start_ns < ours.c.start_ns
    )
    return tuple(sorted(_one(row) for row in connection.execute(query)))


def overdue(connection: Connection, now_ns: int) -> frozenset[str]:
    """Return the GPUs of claims that have ended and were not given back."""
    return frozenset(connection.execute(select(CLAIMS.c.gpu_uuid).where(CLAIMS.c.end_ns <= now_ns)).scalars())


def _write(connection: Connection, write: Callable[[], object], wanted: Sequence[Claim], *, but: int | None) -> None:
    """Do `write` in our turn; if the database refuses an overlap, say with whom. `but`: whose claims don't count."""
    take_turn(connection, Turn.CLAIM)
    try:
        with connection.begin_nested():
            write()
    except IntegrityError as error:
        if not is_overlap(error):
            raise
        query = _WITH_NAMES.where(CLAIMS.c.gpu_uuid.in_([claim.gpu_uuid for claim in wanted]))
        if but is not None:
            query = query.where(CLAIMS.c.booking_id != but)
        others = sorted(_one(row) for row in connection.execute(query))
        in_the_way = tuple(other for other in others if any(other.overlaps(claim) for claim in wanted))
        if not in_the_way:
            raise TryAgain("the claim in the way was given back meanwhile") from error
        raise ClaimConflict(in_the_way) from error


def _one(row: Row[*tuple[Any, ...]]) -> Claim:
    return Claim(**row._mapping)
