"""Where the time of a booking goes: from Timelock's journal and what it printed, and from the marks of the floor.

Pure but for reading these files. A milestone is the moment at which the last host was so far.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MILESTONES = ("begun", "engine", "mesh", "image", "ray")
ROLES = ("identity", "baseline", "engine", "firewall", "mesh", "image", "ray")
_PHASE = re.compile(r" *([0-9.]+) s  ([a-z]+)(?::|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Seconds since the command began at which each of MILESTONES was reached; seconds that each role took, by host.

    `phases` are the seconds after which each phase of the lifecycle began.
    """

    milestones: Mapping[str, float]
    roles: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)


def of_timelock(journal: Path, log: Path, began_ns: int) -> Steps:
    """Read what `timelock book` left."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    ends: dict[str, float] = {}
    starts: dict[tuple[str, str], float] = {}
    took: dict[str, list[float]] = {}
    for line in lines:
        at = (line["time_ns"] - began_ns) / 1e9
        place = (line.get("role", ""), line.get("host", ""))
        if line["event"] == "start":
            starts[place] = at
            ends.setdefault("begun", at)
        elif line["event"] == "done" and place in starts:
            ends[place[0]] = at
            took.setdefault(place[0], []).append(at - starts[place])
    return Steps(
        milestones={name: ends[name] for name in MILESTONES if name in ends},
        roles={role: tuple(took[role]) for role in ROLES if role in took},
        phases=dict(_phases(log.read_text(errors="replace"))),
    )


def of_floor(marks: Path, began_ns: int) -> Steps:
    """Read what `floor.sh` left."""
    ends: dict[str, float] = {}
    for line in marks.read_text().splitlines():
        seconds, _, step = line.split()
        at = float(seconds) - began_ns / 1e9
        if step != "begun" or "begun" not in ends:
            ends[step] = at
    return Steps(milestones={name: ends[name] for name in MILESTONES if name in ends})


def _phases(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        if found := _PHASE.match(line):
            yield found[2], float(found[1])
