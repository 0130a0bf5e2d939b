"""What the gate saw, as a line for people and as a JSON object for programs. Pure: clocks and paths are handed in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from agent.gate.event import Counter, Event, Opening, Tally
from agent.gate.gate import Health
from agent.gate.hold import Confirmation

VERSION = 1

Value = str | int | bool | list[int] | dict[str, int] | None


def opening(event: Event, path: Path | None, wall_ns: int) -> dict[str, Value]:
    """Describe an event; `wall_ns` is its time by the wall clock, `at_ns` by CLOCK_BOOTTIME."""
    return {
        "v": VERSION,
        "event": "opening",
        "time": _utc(wall_ns),
        "at_ns": event.at_ns,
        "sequence": event.sequence,
        **_who_and_what(event.opening, path),
        "tid": event.tid,
        "comm": event.comm,
        "listed_id": event.listed_id or None,
        "openings": event.openings,
        "held": bool(event.flags),
    }


def tally(seen: Tally, path: Path | None) -> dict[str, Value]:
    """Describe how often the same opening happened, those included that were merged after the last event of it."""
    return {"v": VERSION, "event": "tally", **_who_and_what(seen.opening, path), "openings": seen.openings}


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


def standing(health: Health, *, adopted: bool) -> dict[str, Value]:
    """Describe a gate that stands; what it sees comes after this line."""
    return {**_state("standing", health), "adopted": adopted, "allowed": health.allowed}


def summary(health: Health) -> dict[str, Value]:
    """Describe a whole watch."""
    counters = {counter.name.lower(): count for counter, count in health.counters.items()}
    return {**_state("summary", health), "lost": health.counters[Counter.LOST], "counters": counters}


def text(described: Mapping[str, Value]) -> str:
    """Give the line for people. What others chose, such as a comm, is escaped: it goes to a terminal."""
    match described:
        case {"event": "opening", "cgroup": group, "comm": comm, "openings": openings}:
            again = f" ×{openings}" if openings != 1 else ""
            where = escaped(str(group)) if group else f"group {described['cgroup_id']}, gone"
            who = f"pid {described['pid']} ({escaped(str(comm))}) uid {described['uid']} in {where}"
            what = f"{described['verdict']:<8}  {described['device']} {described['access']:<3}"
            return f"{described['time']}  {what}  {who}{again}"
        case {"event": "tally", "openings": openings}:
            what = f"{described['verdict']} {described['device']} {described['access']}"
            return f"  pid {described['pid']}: {what}, {openings} times in all"
        case {"event": "confirmation", "strength": strength}:
            found = f"descriptors {described['descriptors']}, mappings {described['mappings']}"
            return f"  pid {described['pid']}, event {described['sequence']}: {strength}, {found}"
        case {"event": "summary", "counters": dict(counters)}:
            counts = ", ".join(f"{name} {count}" for name, count in counters.items() if count or name == "lost")
            return f"{_standing(described)}; {counts}"
        case _:
            return _standing(described)


def escaped(text: str) -> str:
    """Give text in which nothing steers a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _who_and_what(it: Opening, path: Path | None) -> dict[str, Value]:
    return {
        "verdict": it.verdict.name.lower(),
        "mode": it.mode.name.lower(),
        "device": f"{it.major}:{it.minor}",
        "access": str(it.access),
        "pid": it.pid,
        "started_ns": it.started_ns or None,
        "uid": it.uid,
        "cgroup_id": it.cgroup_id,
        "cgroup": None if path is None else str(path),
    }


def _state(event: str, health: Health) -> dict[str, Value]:
    return {
        "v": VERSION,
        "event": event,
        "attached": health.attached,
        "mode": health.settings.mode.name.lower(),
        "link_id": health.link_id,
        "program_id": health.program_id,
        "program_tag": health.program_tag,
        "boot_id": health.boot_id,
    }


def _standing(described: Mapping[str, Value]) -> str:
    stands = "stands" if described["attached"] else "HAS BEEN TAKEN OFF"
    ids = f"link {described['link_id']}, program {described['program_id']} {described['program_tag']}"
    return f"gate {stands}: {described['mode']}, {ids}" + (", taken over" if described.get("adopted") else "")


def _utc(wall_ns: int) -> str:
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"
