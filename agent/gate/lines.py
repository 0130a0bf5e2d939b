"""What the gate saw, as a line for people and as a JSON object for programs. Pure: clocks and paths are handed in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from agent.gate.event import Counter, Event, Tally
from agent.gate.gate import Health
from agent.gate.hold import Confirmation

VERSION = 1

Value = str | int | bool | list[int] | dict[str, int] | None


def opening(event: Event, path: Path | None, wall_ns: int) -> dict[str, Value]:
    """Describe an event; `wall_ns` is its time by the wall clock, `at_ns` by CLOCK_BOOTTIME."""
    it = event.opening
    return {
        "v": VERSION,
        "event": "opening",
        "time": _utc(wall_ns),
        "at_ns": event.at_ns,
        "sequence": event.sequence,
        "verdict": it.verdict.name.lower(),
        "mode": it.mode.name.lower(),
        "device": f"{it.major}:{it.minor}",
        "access": str(it.access),
        "pid": it.pid,
        "tid": event.tid,
        "uid": it.uid,
        "comm": event.comm,
        "cgroup_id": it.cgroup_id,
        "cgroup": None if path is None else str(path),
        "listed_id": event.listed_id or None,
        "openings": event.openings,
        "held": bool(event.flags),
    }


def confirmation(seen: Confirmation) -> dict[str, Value]:
    """Describe what was seen of a held opener; `sequence` is that of its opening."""
    return {
        "v": VERSION,
        "event": "confirmation",
        "sequence": seen.event.sequence,
        "strength": seen.strength.value,
        "pid": seen.event.opening.pid,
        "descriptors": list(seen.descriptors),
        "mappings": len(seen.mappings),
        "stood": seen.stood,
        "held_us": seen.held_ns // 1000,
    }


def summary(health: Health, tallies: list[Tally]) -> dict[str, Value]:
    """Describe a whole watch."""
    return {
        "v": VERSION,
        "event": "summary",
        "attached": health.attached,
        "link_id": health.link_id,
        "program_id": health.program_id,
        "boot_id": health.boot_id,
        "lost": health.counters[Counter.LOST],
        "counters": {counter.name.lower(): count for counter, count in health.counters.items()},
        "most_openings": max((tally.openings for tally in tallies), default=0),
    }


def line(of: Mapping[str, Value]) -> str:
    """Give the line for people. What others chose, such as a comm, is escaped: it goes to a terminal."""
    match of["event"]:
        case "opening":
            again = f" ×{of['openings']}" if of["openings"] != 1 else ""
            who = f"pid {of['pid']} ({escaped(str(of['comm']))}) uid {of['uid']}"
            where = escaped(str(of["cgroup"])) if of["cgroup"] else f"group {of['cgroup_id']}, gone"
            return f"{of['time']}  {of['verdict']:<8}  {of['device']} {of['access']:<3}  {who} in {where}{again}"
        case "confirmation":
            return f"  └ #{of['sequence']} pid {of['pid']}: {of['strength']}, descriptors {of['descriptors']}"
        case _:
            counters = of["counters"]
            counts = ", ".join(f"{name} {count}" for name, count in counters.items()) if counters else ""  # type: ignore[union-attr]
            return f"lost {of['lost']}; {'attached' if of['attached'] else 'NOT ATTACHED'}; {counts}"


def escaped(text: str) -> str:
    """Give text in which nothing steers a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _utc(wall_ns: int) -> str:
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"
