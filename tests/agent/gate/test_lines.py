"""Lines for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.gate import lines
from agent.gate.event import Access, Counter, Event, Flag, Mode, Opening, Settings, Tally, Verdict
from agent.gate.gate import Health
from agent.gate.hold import Confirmation, Strength

EVENT = Event(
    opening=Opening(
        cgroup_id=77,
        started_ns=4,
        pid=4711,
        uid=1000,
        major=195,
        minor=0,
        access=Access.READ | Access.WRITE,
        verdict=Verdict.STOPPED,
        mode=Mode.DENY,
    ),
    at_ns=5,
    sequence=3,
    openings=1,
    listed_id=0,
    tid=4712,
    flags=Flag(0),
    comm="python3",
)
HEALTH = Health(
    boot_id="b",
    link_id=1,
    program_id=2,
    program_tag="cafe",
    attached=True,
    settings=Settings(mode=Mode.DENY, lease_until_ns=0),
    counters={**dict.fromkeys(Counter, 0), Counter.STOPPED: 4},
    allowed=0,
    allowed_digest="",
    unread_bytes=0,
)
WALL_NS = 1_700_000_000_123_456_789


def test_an_opening_for_people() -> None:
    described = lines.opening(EVENT, Path("/evil.slice"), WALL_NS)
    expected = "2023-11-14T22:13:20.123456Z  stopped   195:0 rw   pid 4711 (python3) uid 1000 in /evil.slice"
    assert lines.text(described) == expected


def test_a_group_that_is_gone_and_openings_that_were_merged() -> None:
    described = lines.opening(replace(EVENT, openings=900), None, WALL_NS)
    assert lines.text(described).endswith("in group 77, gone ×900")
    assert described["cgroup"] is None


@pytest.mark.parametrize("comm", ["\x1b[2J", "a\nb", "\u202eevil"])
def test_a_name_cannot_steer_the_terminal(comm: str) -> None:
    text = lines.text(lines.opening(replace(EVENT, comm=comm), Path("/" + comm), WALL_NS))
    assert text.isprintable()


def test_a_tally() -> None:
    described = lines.tally(Tally(opening=EVENT.opening, openings=900, emitted_ns=5), None)
    assert lines.text(described) == "  pid 4711: stopped 195:0 rw, 900 times in all"


def test_a_confirmation() -> None:
    seen = Confirmation(
        event=EVENT, strength=Strength.OPEN, descriptors=(3, 5), mappings=(4096,), stood=True, held_ns=600_000
    )
    described = lines.confirmation(seen)
    assert lines.text(described) == "  pid 4711, event 3: open, descriptors [3, 5], mappings 1"
    assert (described["held_us"], described["sequence"]) == (600, EVENT.sequence)


def test_a_summary_always_tells_what_was_lost() -> None:
    assert lines.text(lines.summary(HEALTH)) == "gate stands: deny, link 1, program 2 cafe; stopped 4, lost 0"
    off = lines.summary(replace(HEALTH, attached=False))
    assert "TAKEN OFF" in lines.text(off)
    assert "taken over" in lines.text(lines.standing(HEALTH, adopted=True))


def test_each_object_is_json_with_a_version() -> None:
    for described in (
        lines.opening(EVENT, None, WALL_NS),
        lines.summary(HEALTH),
        lines.standing(HEALTH, adopted=False),
    ):
        assert json.loads(json.dumps(described))["v"] == lines.VERSION
