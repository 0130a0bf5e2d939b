"""A booking at a glance: ledger, journal, and whether each host answers. Changes nothing, takes no lock."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.booking.lock import holder
from provision.booking.progress import read_journal
from provision.booking.records import plan_of

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    roles = _roles(place.journal)
    planned = plan.hosts if plan and booking.live else ()
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(planned)))) as pool:
        answers = list(pool.map(_answered_ns, planned))
    return Condition(
        booking=booking,
        plan=plan,
        hosts=tuple(
            HostCondition(planned=p, roles=roles.get(p.host.name, {}), answered_ns=answer)
            for p, answer in zip(planned, answers, strict=True)
        ),
        events=desk.ledger.events(booking.id)[-LAST_EVENTS:],
        operation=holder(place.lock),
        serving=serving(desk.home),
        now_ns=desk.now_ns(),
    )


def _roles(journal: Path) -> dict[str, dict[str, str]]:
    """For each host, the last thing that each role said: done, failed, drift, or what it is at."""
    found: dict[str, dict[str, str]] = {}
    for line in read_journal(journal):
        host, role, event = (str(line.value.get(key, "")) for key in ("host", "role", "event"))
        if host and role:
            found.setdefault(host, {})[role] = "start" if event == "step" else event
    return found


def _answered_ns(planned: PlannedHost) -> int | None:
    began = time.monotonic_ns()
    try:
        with socket.create_connection((planned.host.address, planned.host.port), CONNECT_SECONDS):
            return time.monotonic_ns() - began
    except OSError:
        return None
