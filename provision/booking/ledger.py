"""The ledger: what was booked, what is held, and what happened, in one database (SQLite, or PostgreSQL by URL).

It alone owns claims: that two claims of one GPU never overlap is the database's own constraint, not this code's care.
It records decisions and takes none: matching, hosts and time are others' business, and `now_ns` is always given.
Every method is one transaction. A Ledger may be shared by threads; each process opens its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType

from sqlalchemy import Connection

from provision import units
from provision.booking.database import Database
from provision.booking.errors import IllegalTransition, NoSuchBooking
from provision.booking.model import Booking, BookingState, Claim, Event, EventLine, Quarantine
from provision.booking.tables import bookings, claims, events, quarantines
from provision.errors import InvalidInput


class Ledger:
    """The ledger at `url`, made or migrated to this program's schema when opened.

    Every method may raise MachineCannot: the database is corrupt, out of reach, too busy or newer than this program.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections."""
        self._database.close()

    # Bookings

    def accept(
        self,
        name: str,
        request_text: str,
        request_digest: str,
        start_ns: int,
        end_ns: int,
        image: str,
        now_ns: int,
        *,
        actor: str = "timelock",
    ) -> Booking:
        """Enter a booking as REQUESTED, with the smallest slot that is free. Raises NameTaken."""
        if not 0 <= start_ns < end_ns:
            raise InvalidInput((f"booking {name!r}: expected 0 ≤ start < end, found {start_ns} and {end_ns} ns",))

        def work(connection: Connection) -> Booking:
            booking = bookings.enter(
                connection,
                name=name,
                request_text=request_text,
                request_digest=request_digest,
                image=image,
                start_ns=start_ns,
                end_ns=end_ns,
                now_ns=now_ns,
            )
            line = EventLine(
                time_ns=now_ns, actor=actor, target=name, old="", new=str(booking.state), reason="request accepted"
            )
            events.append(connection, booking.id, [line])
            return booking

        return self._database.write(work)

    def booking(self, key: str | int) -> Booking:
        """Return the booking with this id, or the live (else the newest) one of this name. Raises NoSuchBooking."""
        found = self.find(key)
        if found is None:
            raise NoSuchBooking(key)
        return found

    def find(self, key: str | int) -> Booking | None:
        """Return what `booking` returns, or None."""
        return self._database.read(lambda connection: bookings.find(connection, key))

    def bookings(self, *, live_only: bool = True) -> tuple[Booking, ...]:
        """Return the live bookings, or all that ever were; oldest first."""
        return self._database.read(lambda connection: bookings.listed(connection, live_only=live_only))

    def set_plan(self, booking_id: int, plan: bytes) -> None:
        """Keep the Plan's canonical bytes. Raises NoSuchBooking, NotLive."""

        def work(connection: Connection) -> None:
            bookings.lock_live(connection, booking_id)
            bookings.change(connection, booking_id, plan=plan)

        self._database.write(work)

    def transition(
        self,
        booking_id: int,
        new: BookingState,
        actor: str,
        reason: str,
        now_ns: int,
        *,
        expected: BookingState | None = None,
    ) -> Booking:
        """Draw one arrow of the booking's life and write its event line, both or neither.

        Args: expected: refuse unless the booking stands there now.
        Raises: IllegalTransition (also for RELEASED while claims are held), NoSuchBooking.
        """

        def work(connection: Connection) -> Booking:
            booking = bookings.lock(connection, booking_id)
            if expected is not None and booking.state is not expected:
                raise IllegalTransition(booking.name, booking.state, new, because=f"expected it to be {expected}")
            holding = bool(claims.held(connection, booking_id))
            moved = bookings.move(connection, booking, new, now_ns, holding=holding)
            line = EventLine(
                time_ns=now_ns, actor=actor, target=booking.name, old=str(booking.state), new=str(new), reason=reason
            )
            events.append(connection, booking_id, [line])
            return moved

        return self._database.write(work)

    # Claims

    def claim(self, booking_id: int, gpus: Iterable[tuple[str, str]], start_ns: int, end_ns: int) -> tuple[Claim, ...]:
        """Hold each (GPU UUID, host) for [start_ns, end_ns), all or none; what is held so already stays held.

        Returns all claims of the booking. Raises ClaimConflict, NotLive, NoSuchBooking.
        """
        wanted = _distinct(gpus)

        def work(connection: Connection) -> tuple[Claim, ...]:
            booking = bookings.lock_live(connection, booking_id)
            return claims.hold(connection, booking, wanted, start_ns, end_ns)

        return self._database.write(work)

    def replace_claims(
        self,
        booking_id: int,
        release: Collection[str],
        add: Iterable[tuple[str, str]],
        *,
        start_ns: int | None = None,
    ) -> tuple[Claim, ...]:
        """Give back some GPUs and hold others up to the booking's end, all or nothing.

        Args: start_ns: from when the new ones are held (default: the booking's start).
        Returns all claims of the booking. Raises ClaimConflict, NotLive, NoSuchBooking.
        """
        wanted = _distinct(add)

        def work(connection: Connection) -> tuple[Claim, ...]:
            booking = bookings.lock_live(connection, booking_id)
            claims.drop(connection, booking_id, release)
            start = booking.start_ns if start_ns is None else start_ns
            return claims.hold(connection, booking, wanted, start, booking.end_ns)

        return self._database.write(work)

    def extend_claims(self, booking_id: int, new_end_ns: int) -> Booking:
        """Move the end of the booking and of all its claims later. Raises ClaimConflict, InvalidInput, NotLive."""

        def work(connection: Connection) -> Booking:
            booking = bookings.lock_live(connection, booking_id)
            if new_end_ns < booking.end_ns:
                old, new = units.format_instant(booking.end_ns), units.format_instant(new_end_ns)
                problem = f"expected an end not before {old}, found {new}"
                raise InvalidInput((f"booking {booking.name!r}: {problem}",), next_step="release it to end it earlier")
            claims.extend(connection, booking, new_end_ns)
            return bookings.change(connection, booking_id, end_ns=new_end_ns)

        return self._database.write(work)

    def release_claims(self, booking_id: int, now_ns: int) -> int:
        """Give back all GPUs of the booking; return how many. A FAILED booking is over with that."""

        def work(connection: Connection) -> int:
            booking = bookings.lock(connection, booking_id)
            count = claims.drop(connection, booking_id, None)
            if booking.live and booking.state is BookingState.FAILED:
                bookings.change(connection, booking_id, ended_ns=now_ns)
            return count

        return self._database.write(work)

    def claims(self, booking_id: int) -> tuple[Claim, ...]:
        """Return what the booking holds, ordered by GPU."""
        return self._database.read(lambda connection: claims.held(connection, booking_id))

    def taken(self, start_ns: int, end_ns: int) -> frozenset[str]:
        """Return the GPUs held by anybody at any time within [start_ns, end_ns)."""
        return self._database.read(lambda connection: claims.taken(connection, start_ns, end_ns))

    def in_front(self, booking_id: int) -> tuple[Claim, ...]:
        """Return the earlier claims of others on GPUs of the booking that were not given back: they come first."""
        return self._database.read(lambda connection: claims.in_front(connection, booking_id))

    def overdue(self, now_ns: int) -> frozenset[str]:
        """Return the GPUs whose claim has ended but was not given back: not yet cleared, so not to be booked now."""
        return self._database.read(lambda connection: claims.overdue(connection, now_ns))

    # Events

    def event(
        self, booking_id: int | None, actor: str, target: str, old: str, new: str, reason: str, now_ns: int
    ) -> None:
        """Write one event line; of a booking, or of none."""
        line = EventLine(time_ns=now_ns, actor=actor, target=target, old=old, new=new, reason=reason)
        self._database.write(lambda connection: events.append(connection, booking_id, [line]))

    def events(self, booking_id: int | None = None, after_seq: int = 0) -> tuple[Event, ...]:
        """Return the events after `after_seq`, oldest first; of one booking, or all."""
        return self._database.read(lambda connection: events.since(connection, booking_id, after_seq))

    def journal_offset(self, booking_id: int) -> int:
        """Return up to which byte the booking's journal has been read."""
        return self.booking(booking_id).journal_offset

    def set_journal_offset(self, booking_id: int, offset: int, lines: Sequence[EventLine] = ()) -> None:
        """Keep that offset and the events that were read up to it, both or neither."""

        def work(connection: Connection) -> None:
            events.append(connection, booking_id, lines)
            bookings.change(connection, booking_id, journal_offset=offset)

        self._database.write(work)

    # Hosts

    def quarantine(
        self,
        host: str,
        reason: str,
        owed: tuple[str, ...],
        booking_id: int | None,
        now_ns: int,
        *,
        actor: str = "timelock",
    ) -> None:
        """Set a host aside, with what must be removed from it first. Again for the same booking: the debts add up."""

        def work(connection: Connection) -> None:
            if booking_id is not None:
                bookings.lock(connection, booking_id)
            if quarantines.add(connection, host, reason, owed, booking_id, now_ns):
                line = EventLine(time_ns=now_ns, actor=actor, target=host, old="", new="QUARANTINED", reason=reason)
                events.append(connection, booking_id, [line])

        self._database.write(work)

    def quarantined(self) -> Mapping[str, Quarantine]:
        """Return the hosts that are set aside."""
        return self._database.read(quarantines.all_of)

    def restore(self, host: str, actor: str, reason: str, now_ns: int) -> Quarantine | None:
        """Take a host back, its debts paid; return what it had owed, or None if it was not set aside."""

        def work(connection: Connection) -> Quarantine | None:
            paid = quarantines.remove(connection, host)
            line = EventLine(time_ns=now_ns, actor=actor, target=host, old="QUARANTINED", new="", reason=reason)
            for debt in paid.debts if paid else ():
                events.append(connection, debt.booking_id, [line])
            return paid

        return self._database.write(work)


def _distinct(gpus: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = sorted(set(gpus))
    if len({uuid for uuid, _ in pairs}) != len(pairs):
        raise ValueError(f"expected each GPU on one host, found {pairs}")
    return tuple(pairs)
