"""Any order of calls, against a model in plain Python: the ledger answers as the model says, and its rules hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from provision.booking.errors import ClaimConflict, IllegalTransition, NameTaken, NotLive
from provision.booking.ledger import Ledger
from provision.booking.model import BookingState, follows
from provision.errors import InvalidInput, TimelockError

S = BookingState
INSTANTS = st.integers(0, 12)
WINDOWS = st.tuples(INSTANTS, INSTANTS).filter(lambda window: window[0] < window[1])
GPUS = st.sets(st.sampled_from(["g0", "g1", "g2", "g3", "g4"]), min_size=1, max_size=3)
PICK = st.integers(0, 1000)
Window = tuple[int, int]
T = TypeVar("T")


@dataclass
class Entry:
    """A booking, as the model sees it."""

    name: str
    window: Window
    slot: int
    state: BookingState = S.REQUESTED
    claims: dict[str, Window] = field(default_factory=dict)
    live: bool = True
    lines: int = 1


def test_sqlite(new_sqlite: Callable[[], str]) -> None:
    _explore(new_sqlite, examples=25)


def test_postgresql(new_postgresql: Callable[[], str]) -> None:
    _explore(new_postgresql, examples=8)


def _explore(new: Callable[[], str], *, examples: int) -> None:
    limits = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(lambda: Life(new()), settings=limits)  # type: ignore[arg-type]  # any maker will do


class Life(RuleBasedStateMachine):
    """The ledger at `url` and its model, `entries` by id."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.ledger = Ledger(url)
        self.entries: dict[int, Entry] = {}

    def teardown(self) -> None:
        self.ledger.close()

    # Calls

    @rule(name=st.sampled_from("abcd"), window=WINDOWS)
    def accept(self, name: str, window: Window) -> None:
        live = [entry for entry in self.entries.values() if entry.live]
        slot = min(set(range(len(live) + 1)) - {entry.slot for entry in live})
        refusal = NameTaken if name in {entry.name for entry in live} else None
        booking = self.expect(refusal, lambda: self.ledger.accept(name, "", "", *window, "image", 0))
        if booking is not None:
            assert booking.slot == slot
            self.entries[booking.id] = Entry(name=name, window=window, slot=slot)

    @precondition(lambda self: self.entries)
    @rule(pick=PICK, gpus=GPUS, window=st.none() | WINDOWS)
    def claim(self, pick: int, gpus: set[str], window: Window | None) -> None:
        number, entry = self.pick(pick)
        wanted = dict.fromkeys(gpus, window or entry.window)
        refusal = NotLive if not entry.live else ClaimConflict if self.refuses(entry, wanted) else None
        start_ns, end_ns = window or entry.window
        held = self.expect(refusal, lambda: self.ledger.claim(number, _on_hosts(gpus), start_ns, end_ns))
        if held is not None:
            entry.claims |= wanted

    @precondition(lambda self: self.entries)
    @rule(pick=PICK, gpus=GPUS)
    def replace(self, pick: int, gpus: set[str]) -> None:
        number, entry = self.pick(pick)
        release = set(sorted(entry.claims)[:1])
        kept = Entry(name="", window=entry.window, slot=0)
        kept.claims = {gpu: window for gpu, window in entry.claims.items() if gpu not in release}
        wanted = dict.fromkeys(gpus, entry.window)
        conflict = self.refuses(kept, wanted, instead_of=entry)
        refusal = NotLive if not entry.live else ClaimConflict if conflict else None
        held = self.expect(refusal, lambda: self.ledger.replace_claims(number, release, _on_hosts(gpus)))
        if held is not None:
            entry.claims = kept.claims | wanted

    @precondition(lambda self: self.entries)
    @rule(pick=PICK, later=st.integers(-2, 6))
    def extend(self, pick: int, later: int) -> None:
        number, entry = self.pick(pick)
        end_ns = entry.window[1] + later
        # A claim may start at or after the booking's end: the caller chose its window.
        wanted = {gpu: (start_ns, end_ns) for gpu, (start_ns, _) in entry.claims.items()}
        refusal: type[TimelockError] | None = None
        if not entry.live:
            refusal = NotLive
        elif later < 0:
            refusal = InvalidInput
        elif any(start_ns >= end for start_ns, end in wanted.values()):
            return
        elif self.others_hold(entry, wanted):
            refusal = ClaimConflict
        if self.expect(refusal, lambda: self.ledger.extend_claims(number, end_ns)) is not None:
            entry.window, entry.claims = (entry.window[0], end_ns), wanted

    @precondition(lambda self: self.entries)
    @rule(pick=PICK)
    def release_claims(self, pick: int) -> None:
        number, entry = self.pick(pick)
        assert self.ledger.release_claims(number, 0) == len(entry.claims)
        entry.claims = {}
        entry.live = entry.live and entry.state is not S.FAILED

    @precondition(lambda self: self.entries)
    @rule(pick=PICK, new=st.sampled_from(sorted(S)))
    def transition(self, pick: int, new: BookingState) -> None:
        number, entry = self.pick(pick)
        legal = follows(entry.state, new) and (entry.live or new is S.RELEASED)
        legal = legal and not (new is S.RELEASED and entry.claims)
        refusal = None if legal else IllegalTransition
        if self.expect(refusal, lambda: self.ledger.transition(number, new, "test", "", 0)) is not None:
            entry.state, entry.lines = new, entry.lines + 1
            entry.live = entry.live and new is not S.RELEASED and not (new is S.FAILED and not entry.claims)

    @rule()
    def open_again(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.url)

    # What holds after every call

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        bookings = {booking.id: booking for booking in self.ledger.bookings(live_only=False)}
        assert set(bookings) == set(self.entries)
        for number, entry in self.entries.items():
            booking = bookings[number]
            found = (booking.name, booking.state, booking.slot, booking.live, (booking.start_ns, booking.end_ns))
            assert found == (entry.name, entry.state, entry.slot, entry.live, entry.window)
            held = {claim.gpu_uuid: (claim.start_ns, claim.end_ns) for claim in self.ledger.claims(number)}
            assert held == entry.claims
            lines = [event.line for event in self.ledger.events(number)]
            assert len(lines) == entry.lines
            assert all(before.new == after.old for before, after in pairwise(lines))
            assert lines[-1].new == booking.state

    @invariant()
    def no_two_claims_overlap(self) -> None:
        claims = [claim for number in self.entries for claim in self.ledger.claims(number)]
        assert not [pair for pair in combinations(claims, 2) if pair[0].overlaps(pair[1])]
        assert self.ledger.taken(0, 100) == {claim.gpu_uuid for claim in claims}

    @invariant()
    def names_and_slots_of_the_live_are_their_own(self) -> None:
        live = self.ledger.bookings()
        assert len({booking.name for booking in live}) == len({booking.slot for booking in live}) == len(live)
        assert not any(self.entries[number].claims for number, entry in self.entries.items() if not entry.live)

    # The model

    def pick(self, pick: int) -> tuple[int, Entry]:
        numbers = sorted(self.entries)
        number = numbers[pick % len(numbers)]
        return number, self.entries[number]

    def refuses(self, entry: Entry, wanted: dict[str, Window], *, instead_of: Entry | None = None) -> bool:
        """Whether a GPU is held by others, or by the booking itself for another time."""
        own = any(entry.claims.get(gpu, window) != window for gpu, window in wanted.items())
        return own or self.others_hold(instead_of or entry, wanted)

    def others_hold(self, entry: Entry, wanted: dict[str, Window]) -> bool:
        others = [other for other in self.entries.values() if other is not entry]
        return any(_meet(window, other.claims.get(gpu)) for gpu, window in wanted.items() for other in others)

    def expect(self, refusal: type[TimelockError] | None, call: Callable[[], T]) -> T | None:
        """Call; the answer, or None if it refused as the model says."""
        if refusal is None:
            return call()
        with pytest.raises(refusal):
            call()
        return None


def _meet(one: Window, other: Window | None) -> bool:
    return other is not None and one[0] < other[1] and other[0] < one[1]


def _on_hosts(gpus: Iterable[str]) -> list[tuple[str, str]]:
    return [(gpu, "host") for gpu in gpus]
