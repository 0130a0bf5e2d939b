"""A booking at a glance: ledger, journal, and whether each host answers. Changes nothing, takes no lock."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.booking.lock import holder
from provision.booking.model import BookingState
from provision.booking.progress import read_journal
from provision.booking.records import plan_of
from stacks.roles import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from provision.booking.desk import Desk
    from provision.booking.model import Booking, Event
    from provision.matching.model import Plan, PlannedHost

CONNECT_SECONDS = 2.0
LAST_EVENTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCondition:
    """One host: what each role said last, and how long its SSH port took to answer (None: it did not)."""

    planned: PlannedHost
    roles: Mapping[str, str]
    answered_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """All of it, at `now_ns`. `operation` says what works on the booking right now."""

    booking: Booking
    plan: Plan | None
    hosts: tuple[HostCondition, ...]
    events: tuple[Event, ...]
    operation: str | None
    serving: bool
    now_ns: int


def condition(desk: Desk, name: str) -> Condition:
    """Look at the booking called `name`; asks its hosts at most CONNECT_SECONDS for a sign of life."""
    from provision.control.background import serving

    booking = desk.ledger.booking(name)
    place = desk.home.booking(name)
    plan = plan_of(booking) if booking.plan else None
    planned = plan.hosts if plan and booking.live else ()
    events = desk.ledger.events(booking.id)
    roles = _roles(place.journal, planned, _accepted_ns(booking, events))
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(planned)))) as pool:
        answers = list(pool.map(_answered_ns, planned))
    return Condition(
        booking=booking,
        plan=plan,
        hosts=tuple(
            HostCondition(planned=p, roles=roles.get(p.host.name, {}), answered_ns=answer)
            for p, answer in zip(planned, answers, strict=True)
        ),
        events=events[-LAST_EVENTS:],
        operation=holder(place.lock),
        serving=serving(desk.home),
        now_ns=desk.now_ns(),
    )


def _accepted_ns(booking: Booking, events: Sequence[Event]) -> int | None:
    """When all hosts of an ACTIVE booking were last accepted: whatever failed before was put right."""
    if booking.state is not BookingState.ACTIVE:
        return None
    return next((event.line.time_ns for event in reversed(events) if event.line.new == booking.state), None)


def _roles(journal: Path, hosts: Iterable[PlannedHost], accepted_ns: int | None) -> dict[str, dict[str, str]]:
    """For each host, the last thing that each role said: done, failed, drift, or what it is at."""
    found: dict[str, dict[str, str]] = {}
    if accepted_ns is not None:
        found = {planned.host.name: dict.fromkeys(BY_NAME, "done") for planned in hosts}
    for line in read_journal(journal):
        host, role, event = (str(line.value.get(key, "")) for key in ("host", "role", "event"))
        if host and role and _time_ns(line.value) > (accepted_ns or -1):
            found.setdefault(host, {})[role] = "start" if event == "step" else event
    return found


def _time_ns(line: Mapping[str, object]) -> int:
    at_ns = line.get("time_ns")
    return at_ns if isinstance(at_ns, int) else 0


def _answered_ns(planned: PlannedHost) -> int | None:
    began = time.monotonic_ns()
    try:
        with socket.create_connection((planned.host.address, planned.host.port), CONNECT_SECONDS):
            return time.monotonic_ns() - began
    except OSError:
        return None
