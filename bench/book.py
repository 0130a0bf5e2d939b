"""`timelock book` and `release` on a lab of this machine, beside the floor: a plain parallel script that does the same.

Images are in the lab's registry, the hosts' engines empty; each clock stops when a task has run on every GPU slot. CPU
seconds are those of the command and of all hosts; hosts, registry and command share this machine's cores.
"""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench import steps
from bench.result import Goal, Row, row
from bench.site import Site, site
from bench.steps import MILESTONES, ROLES, Steps
from bench.usage import CommandFailed, Usage

CORES = os.cpu_count() or 1
HOSTS = 3
RUNS = 3
ATTEMPTS = 5
CURVE = (1, 2, 4, 8)
BUDGET_SECONDS = 840.0
TOLD = {
    "begun": "book: until the first host is at work",
    "engine": "book: until every engine runs and pulls",
    "mesh": "book: until every mesh stands",
    "image": "book: until every image is there",
    "ray": "book: until Ray runs on every host",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One turn of everything that is compared."""

    floor: Usage
    floor_release: Usage
    floor_steps: Steps
    book: Usage
    again: Usage
    release: Usage
    steps: Steps
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One booking of the curve."""

    hosts: int
    book: Usage


def measure() -> Iterator[Row]:
    """Rounds of floor and Timelock on three hosts, then Timelock alone on 1 to 8; ends within its budget of time."""
    deadline = time.monotonic() + BUDGET_SECONDS
    with site(HOSTS) as place:
        rounds = tuple(_rounds(place, deadline))
        points = (*_curve(place, deadline), Point(hosts=HOSTS, book=_middle([one.book for one in rounds])))
    yield from _compared(rounds)
    yield from _steps(rounds)
    yield from _points(sorted(points, key=lambda point: point.hosts))


def _rounds(place: Site, deadline: float) -> Iterator[Round]:
    """At least one round; as many as wished while there is time for another and half of the budget is not spent."""
    done, longest = 0, 0.0
    for attempt in range(ATTEMPTS):
        left = deadline - time.monotonic()
        if done == RUNS or (done and left - longest < BUDGET_SECONDS / 3):
            return
        began = time.monotonic()
        try:
            yield _round(place)
            done += 1
        except CommandFailed as failure:
            _tell(f"attempt {attempt + 1} failed: {failure}")
            _clear(place)
        longest = max(longest, time.monotonic() - began)
    if not done:
        raise CommandFailed(f"none of {ATTEMPTS} attempts to book went well")


def _round(place: Site) -> Round:
    bare = place.state(HOSTS) if place.marks.exists() else None
    floor = _told("floor", lambda: place.floor(HOSTS))
    floor_steps = steps.of_floor(place.marks, floor.began_ns)
    reached = place.state(HOSTS)
    floor_release = _told("floor, release", place.floor_release)
    bare = bare or place.state(HOSTS)
    book = _told("book", lambda: place.book(HOSTS))
    own_steps = steps.of_timelock(place.journal, place.log, book.began_ns)
    differences = _differences(reached, place.state(HOSTS))
    again = _told("book again", lambda: place.book(HOSTS))
    release = _told("release", place.release)
    return Round(
        floor=floor,
        floor_release=floor_release,
        floor_steps=floor_steps,
        book=book,
        again=again,
        release=release,
        steps=own_steps,
        differences=(*differences, *_differences(bare, place.state(HOSTS))),
    )


def _curve(place: Site, deadline: float) -> Iterator[Point]:
    """Larger bookings as long as the next, at worst in proportion to its hosts, would end before the deadline."""
    longest = 0.0
    for hosts in CURVE:
        began = time.monotonic()
        if began + 2 * longest > deadline:
            _tell(f"no time left for {hosts} hosts and more")
            return
        try:
            place.grow(hosts)
            book = _told(f"book, {hosts} hosts", lambda: place.book(hosts))  # noqa: B023
            _told(f"release, {hosts} hosts", place.release)
            yield Point(hosts=hosts, book=book)
        except CommandFailed as failure:
            _tell(f"{hosts} hosts: {failure}")
            _clear(place)
        longest = time.monotonic() - began


def _compared(rounds: Sequence[Round]) -> Iterator[Row]:
    for name, own, floor, at_most in (
        ("book, 3 hosts", [one.book for one in rounds], [one.floor for one in rounds], 1.3),
        ("release, 3 hosts", [one.release for one in rounds], [one.floor_release for one in rounds], 1.5),
    ):
        goal = Goal(on="ratio", at_most=at_most)
        yield _beside_floor(name, [use.seconds for use in own], [use.seconds for use in floor], goal=goal)
        yield _beside_floor(f"{name}: CPU time", [use.cpu_seconds for use in own], [use.cpu_seconds for use in floor])
        others = [100 * use.others for use in own], [100 * use.others for use in floor]
        yield _beside_floor(f"{name}: CPU that other work on this machine took", *others, unit="%")
    yield row("book again, no change", [one.again.seconds for one in rounds], goal=Goal(on="value", at_most=5))
    yield row("book again, no change: CPU time", [one.again.cpu_seconds for one in rounds])
    differing = [float(len(one.differences)) for one in rounds]
    yield row(
        "facts about the hosts that differ from the floor's", differing, unit="", goal=Goal(on="value", at_most=0)
    )


def _beside_floor(
    name: str, own: Sequence[float], floor: Sequence[float], *, unit: str = "s", goal: Goal | None = None
) -> Row:
    return row(name, own, unit=unit, reference="floor", reference_samples=floor, goal=goal)


def _steps(rounds: Sequence[Round]) -> Iterator[Row]:
    """Milestones of both, side by side; then what only Timelock has: its phases, and each role on a host."""
    for name in MILESTONES:
        own = [one.steps.milestones[name] for one in rounds if name in one.steps.milestones]
        floor = [one.floor_steps.milestones[name] for one in rounds]
        if own:
            yield _beside_floor(TOLD[name], own, floor)
    for title, first, second in (
        ("book: read, survey, claim", "", "provisioning"),
        ("book: stack", "provisioning", "acceptance"),
        ("book: acceptance", "acceptance", "active"),
    ):
        phases = [one.steps.phases for one in rounds]
        if took := [of[second] - of.get(first, 0.0) for of in phases if second in of]:
            yield row(title, took)
    for role in ROLES:
        if role_seconds := [seconds for one in rounds for seconds in one.steps.roles.get(role, ())]:
            yield row(f"book: role {role}, on one host", role_seconds)


def _points(points: Sequence[Point]) -> Iterator[Row]:
    """Each against twice what cannot be helped: the time of one host, or its CPU time on all cores if that is more."""
    alone = next((point.book.seconds for point in points if point.hosts == 1), None)
    for point in points:
        name = f"book, {point.hosts} host{'s' if point.hosts > 1 else ''}"
        usage = point.book
        forced = usage.cpu_seconds / (CORES * max(1 - usage.others, 0.01))
        yield row(
            name,
            [usage.seconds],
            reference="one host, or its CPU time on all cores" if alone else "",
            reference_samples=[max(alone, forced)] if alone else (),
            goal=Goal(on="ratio", at_most=2) if alone else None,
        )
        yield row(f"{name}: CPU in use", [100 * usage.busy], unit="%")


def _differences(left: dict[str, list[str]], right: dict[str, list[str]]) -> tuple[str, ...]:
    found = tuple(
        f"{host} {line}"
        for host in left
        for line in difflib.unified_diff(left[host], right[host], n=0, lineterm="")
        if line[0] in "+-" and not line.startswith(("+++", "---"))
    )
    for line in found:
        _tell(f"differs: {line}")
    return found


def _middle(usages: Sequence[Usage]) -> Usage:
    """The one whose time is the median (the longer of two)."""
    wanted = median([usage.seconds for usage in usages])
    return min(usages, key=lambda usage: (abs(usage.seconds - wanted), -usage.seconds))


def _clear(place: Site) -> None:
    """Take off the hosts whatever a failure left on them."""
    for undo in (place.release, place.floor_release):
        try:
            undo()
        except CommandFailed:
            continue


def _told(what: str, run: Callable[[], Usage]) -> Usage:
    usage = run()
    _tell(
        f"{what}: {usage.seconds:.1f} s, {usage.cpu_seconds:.1f} s of CPU, machine {usage.busy:.0%} busy, "
        f"{usage.others:.0%} by others"
    )
    return usage


def _tell(line: str) -> None:
    sys.stdout.write(f"  {time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
