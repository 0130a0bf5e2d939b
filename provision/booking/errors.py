"""What the ledger refuses, and why. Light: no database is imported."""

from __future__ import annotations

from provision.booking.model import ARROWS, BookingState, Claim
from provision.errors import NoCapacity, TimelockError


class NoSuchBooking(TimelockError):
    """The ledger knows no booking of this name or id."""

    exit_code = 2

    def __init__(self, key: str | int) -> None:
        super().__init__(f"booking {key!r}: not in the ledger", next_step="`timelock list --all` shows what is")


class NameTaken(TimelockError):
    """A live booking has this name already."""

    exit_code = 2

    def __init__(self, name: str) -> None:
        super().__init__(
            f"booking {name!r}: a live booking has this name",
            next_step=f"choose another name, or `timelock release {name}` first",
        )


class NotLive(TimelockError):
    """The booking is over: nothing can be held or changed in its name."""

    exit_code = 2

    def __init__(self, name: str, state: BookingState) -> None:
        super().__init__(f"booking {name!r}: expected a live booking, found {state}", next_step="book again")


class IllegalTransition(TimelockError):
    """The life of a booking has no such arrow, or the booking was elsewhere than the caller believed."""

    exit_code = 2

    def __init__(self, name: str, old: BookingState, new: BookingState, *, because: str = "") -> None:
        known = ", ".join(sorted(ARROWS[old])) or "nothing"
        super().__init__(
            f"booking {name!r}: {old} → {new} is refused: {because or f'from {old} follows {known}'}",
            next_step=f"`timelock status {name}` shows where it stands",
        )
        self.old = old
        self.new = new


class ClaimConflict(NoCapacity):
    """GPUs are held by other claims in this window; `held` are those claims."""

    def __init__(self, held: tuple[Claim, ...]) -> None:
        self.held = held
        who = "; ".join(f"{claim.gpu_uuid} on {claim.host} by booking {claim.booking!r}" for claim in held)
        super().__init__(
            f"expected free GPUs, found {len(self.gpus)} held in this window: {who}",
            next_step="match again (other GPUs may be free), or choose another window",
        )

    @property
    def gpus(self) -> tuple[str, ...]:
        """The UUIDs that are held, sorted."""
        return tuple(sorted({claim.gpu_uuid for claim in self.held}))

    @property
    def by(self) -> tuple[str, ...]:
        """The names of the bookings that hold them, sorted."""
        return tuple(sorted({claim.booking for claim in self.held}))
