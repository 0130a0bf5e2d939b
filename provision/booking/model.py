"""The words of a booking's life: its states, the arrows between them, and what the ledger keeps.

Pure and light (the standard library only), so that a command can name a state without loading a database.
Who may draw an arrow, and what must be done on hosts meanwhile, is the lifecycle's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class BookingState(StrEnum):
    """Where a booking stands (DESIGN §3)."""

    REQUESTED = "REQUESTED"
    """Accepted: window and image are fixed, nothing is chosen."""
    PLANNED = "PLANNED"
    """Hosts are chosen, none is held."""
    CLAIMED = "CLAIMED"
    """Its GPUs are held for the window; nothing is on the hosts yet."""
    PROVISIONING = "PROVISIONING"
    """Being made, or repaired, on the hosts."""
    ACTIVE = "ACTIVE"
    """Accepted and in the customer's hands."""
    CLOSING = "CLOSING"
    """Being taken off the hosts: after its window, on request, or after a failure."""
    SETTLED = "SETTLED"
    """Closed and judged; claims are still held until the erase is certain."""
    RELEASED = "RELEASED"
    """Over: holds no claim, no name, no slot."""
    FAILED = "FAILED"
    """Given up. Over if it holds no claim; else what it left is still to be removed (→ CLOSING or RELEASED)."""
    QUARANTINED = "QUARANTINED"
    """Stopped until a person decides: a host of it cannot be trusted (a changed host key). Keeps claims and slot.

    A host that merely owes an erase is quarantined by itself, and its booking goes on to RELEASED.
    """


_S = BookingState

# What may follow each state. PROVISIONING and CLOSING follow themselves: a resumed operation is an event, too.
# ACTIVE → PROVISIONING is a repair; FAILED → PROVISIONING is `resume` while its claims are still held.
ARROWS: Mapping[BookingState, frozenset[BookingState]] = MappingProxyType(
    {
        _S.REQUESTED: frozenset({_S.PLANNED, _S.RELEASED, _S.FAILED}),
        _S.PLANNED: frozenset({_S.CLAIMED, _S.RELEASED, _S.FAILED}),
        _S.CLAIMED: frozenset({_S.PROVISIONING, _S.CLOSING, _S.RELEASED, _S.FAILED}),
        _S.PROVISIONING: frozenset({_S.PROVISIONING, _S.ACTIVE, _S.CLOSING, _S.QUARANTINED, _S.FAILED}),
        _S.ACTIVE: frozenset({_S.PROVISIONING, _S.CLOSING, _S.QUARANTINED, _S.FAILED}),
        _S.CLOSING: frozenset({_S.CLOSING, _S.SETTLED, _S.QUARANTINED, _S.FAILED}),
        _S.SETTLED: frozenset({_S.CLOSING, _S.RELEASED, _S.QUARANTINED, _S.FAILED}),
        _S.RELEASED: frozenset(),
        _S.FAILED: frozenset({_S.PROVISIONING, _S.CLOSING, _S.RELEASED}),
        _S.QUARANTINED: frozenset({_S.PROVISIONING, _S.CLOSING, _S.RELEASED, _S.FAILED}),
    }
)


def follows(old: BookingState, new: BookingState) -> bool:
    """Say whether the life of a booking has an arrow from `old` to `new`."""
    return new in ARROWS[old]


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """An accepted request, as the ledger knows it. `plan` is the Plan's canonical bytes, once there is one."""

    id: int
    name: str
    state: BookingState
    request_digest: str
    request_text: str
    image: str
    plan: bytes | None
    start_ns: int
    end_ns: int
    slot: int
    created_ns: int
    ended_ns: int | None
    journal_offset: int

    @property
    def live(self) -> bool:
        """Whether it still holds its name and slot: until RELEASED, or FAILED with no claim left."""
        return self.ended_ns is None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Claim:
    """One GPU held for [start_ns, end_ns). Ordered by GPU, the order in which claims are written."""

    gpu_uuid: str
    host: str
    booking: str
    start_ns: int
    end_ns: int

    def overlaps(self, other: Claim) -> bool:
        """Whether both want the same GPU at the same time."""
        return self.gpu_uuid == other.gpu_uuid and self.start_ns < other.end_ns and other.start_ns < self.end_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """What one event says: who changed what, from what, to what, and why."""

    time_ns: int
    actor: str
    target: str
    old: str
    new: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An EventLine in the ledger. `seq` only grows; within one booking it is the order of commits."""

    seq: int
    booking_id: int | None
    line: EventLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """What a host owes because of one booking (None: an operator set it aside), and why."""

    booking_id: int | None
    reason: str
    owed: tuple[str, ...]
    since_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """A host that is not to be used until its debts are paid and it is restored."""

    host: str
    debts: tuple[Debt, ...]

    @property
    def reason(self) -> str:
        """All reasons, oldest first."""
        return "; ".join(dict.fromkeys(debt.reason for debt in self.debts))

    @property
    def owed(self) -> tuple[str, ...]:
        """All that is to be removed from it, each once."""
        return tuple(dict.fromkeys(item for debt in self.debts for item in debt.owed))

    @property
    def since_ns(self) -> int:
        """When it was set aside first."""
        return min(debt.since_ns for debt in self.debts)
