"""The program against a specification in Python, in any world; and that the kernel's verifier takes it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gate import bpf
from agent.gate.asm import encode
from agent.gate.bpf import MapType
from agent.gate.device import DeviceRange
from agent.gate.event import (
    COUNTERS,
    EVENT,
    HOLD,
    IDENTITY,
    SETTINGS,
    TALLY,
    Access,
    At,
    Counter,
    Event,
    Flag,
    Mode,
    Settings,
    Verdict,
)
from agent.gate.frame import Features, Maps
from agent.gate.program import MAX_LEVEL, build
from tests.fakes.bpf_machine import MAPS, TASK, Machine, World

GPUS = (DeviceRange(major=195), DeviceRange(major=7, first=2, last=5))
PROGRAM = build(GPUS, MAPS, Features(task=TASK))
WITHOUT_SIGNALS = build(GPUS, MAPS, Features(signals=False, task=TASK))
WITHOUT_TASK = build(GPUS, MAPS, Features())
CHARACTER, BLOCK = 2, 1
READ_WRITE = Access.READ | Access.WRITE

devices = st.tuples(
    st.sampled_from([6, 7, 8, 194, 195, 196]), st.integers(0, 7) | st.sampled_from([255, (1 << 20) - 1])
)
accesses = st.integers(1, 7).map(Access)
times = st.integers(0, 20)
worlds = st.builds(
    World,
    settings=st.builds(Settings, mode=st.sampled_from(Mode), lease_until_ns=times, hold_until_ns=times, merge_ns=times),
    now_ns=times,
    groups=st.lists(st.integers(2, 30), unique=True, max_size=MAX_LEVEL + 3).map(tuple),
    refused=st.sampled_from([0, 0, 0, -1]),
    allowed=st.frozensets(st.integers(1, 30), max_size=3),
    tallies_max=st.integers(0, 1),
    held_max=st.integers(0, 1),
    ring_max=st.integers(0, 1),
    signal_result=st.sampled_from([0, 0, -1]),
)


def counted(world: World) -> dict[Counter, int]:
    return {counter: count for counter, count in zip(Counter, COUNTERS.unpack(world.counters), strict=True) if count}


def listed(world: World) -> int:
    """The outermost of the caller's groups that is on the list; none below the depth that is looked at."""
    return next((group for group in world.groups[:MAX_LEVEL] if group in world.allowed), 0)


def verdict(world: World) -> Verdict:
    if world.refused:
        return Verdict.REFUSED
    if listed(world):
        return Verdict.ALLOWED
    return Verdict.OBSERVED if world.settings.mode is Mode.OBSERVE else Verdict.STOPPED


@given(worlds, devices, accesses, st.sampled_from([CHARACTER, CHARACTER, BLOCK]))
def test_it_lets_through_what_the_specification_does(
    world: World, device: tuple[int, int], access: Access, kind: int
) -> None:
    guarded = kind == CHARACTER and any(device in gpus for gpus in GPUS)
    leased = world.now_ns < world.settings.lease_until_ns
    result = Machine(PROGRAM, world).run(access, kind, *device)
    assert result == (0 if guarded and leased and verdict(world) is Verdict.STOPPED else 1)
    if not guarded:
        assert (counted(world), world.events, world.signals) == ({}, [], [])
    elif not leased:
        assert (counted(world), world.events, world.signals) == ({Counter.EXPIRED: 1}, [], [])


@pytest.mark.parametrize(
    ("major", "minor", "guarded"),
    [(7, 1, False), (7, 2, True), (7, 5, True), (7, 6, False), (195, 0, True), (195, (1 << 20) - 1, True)],
)
def test_a_range_holds_its_ends(major: int, minor: int, guarded: bool) -> None:
    world = World(settings=Settings(mode=Mode.DENY, lease_until_ns=1 << 40))
    assert Machine(PROGRAM, world).run(READ_WRITE, CHARACTER, major, minor) == (not guarded)


@given(worlds, accesses)
def test_each_opening_is_told_or_counted_as_lost(world: World, access: Access) -> None:
    world.settings = replace(world.settings, lease_until_ns=world.now_ns + 1)
    Machine(PROGRAM, world).run(access, CHARACTER, 195, 1)
    counts = counted(world)
    assert {one: counts.get(Counter[one.name], 0) for one in Verdict} == {one: one is verdict(world) for one in Verdict}
    assert counts[Counter.EMITTED] == 1
    assert counts.get(Counter.UNTALLIED, 0) == (world.tallies_max == 0)
    assert len(world.events) + counts.get(Counter.LOST, 0) == 1
    for event in map(Event.decode, world.events):
        assert (event.opening.pid, event.tid, event.opening.uid, event.comm) == (100, 101, 1000, "python3")
        assert event.opening.started_ns == 55
        assert (event.opening.major, event.opening.minor, event.opening.access) == (195, 1, access)
        assert (event.opening.verdict, event.opening.mode) == (verdict(world), world.settings.mode)
        assert event.opening.cgroup_id == (world.groups[-1] if world.groups else 1)
        assert (event.listed_id, event.at_ns, event.sequence, event.openings) == (listed(world), world.now_ns, 0, 1)


@given(worlds, accesses)
def test_who_is_held_is_written_down_told_and_stopped(world: World, access: Access) -> None:
    world.settings = replace(world.settings, lease_until_ns=world.now_ns + 1, mode=Mode.OBSERVE)
    wanted = (
        verdict(world) is Verdict.OBSERVED
        and bool(access & READ_WRITE)
        and world.now_ns < world.settings.hold_until_ns
        and world.ring_max > 0
    )
    held = wanted and world.held_max > 0 and not world.signal_result
    Machine(PROGRAM, world).run(access, CHARACTER, 7, 2)
    assert world.signals == ([signal.SIGSTOP] if held else [])
    assert world.held == ({0: HOLD.pack(world.now_ns, 100, 101)} if held else {})
    assert [Event.decode(raw).flags for raw in world.events] in ([], [Flag.HELD if held else Flag(0)])
    assert counted(world).get(Counter.HELD, 0) == held
    assert counted(world).get(Counter.UNHELD, 0) == (wanted and not held)


@given(worlds, accesses)
def test_a_kill_refuses_too(world: World, access: Access) -> None:
    world.settings = replace(world.settings, lease_until_ns=world.now_ns + 1, mode=Mode.KILL)
    result = Machine(PROGRAM, world).run(access, CHARACTER, 195, 0)
    stopped = verdict(world) is Verdict.STOPPED
    assert result == (not stopped)
    assert world.signals == ([signal.SIGKILL] if stopped and not world.signal_result else [])
    assert counted(world).get(Counter.UNKILLED, 0) == (stopped and bool(world.signal_result))


@given(worlds, accesses)
def test_without_signals_it_decides_the_same(world: World, access: Access) -> None:
    other = replace(world, tallies={}, held={}, events=[], signals=[], counters=bytearray(COUNTERS.size))
    results = [
        Machine(PROGRAM, world).run(access, CHARACTER, 195, 0),
        Machine(WITHOUT_SIGNALS, other).run(access, CHARACTER, 195, 0),
    ]
    assert results[0] == results[1]
    assert other.signals == []
    assert [raw[: At.FLAGS] for raw in world.events] == [raw[: At.FLAGS] for raw in other.events]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 20), st.integers(0, 3))
def test_the_same_opening_is_merged_for_a_time_and_never_forgotten(steps: list[int], merge_ns: int, room: int) -> None:
    world = World(settings=Settings(mode=Mode.DENY, lease_until_ns=1 << 40, merge_ns=merge_ns), ring_max=room)
    for step in steps:
        world.now_ns += step
        assert Machine(PROGRAM, world).run(READ_WRITE, CHARACTER, 195, 0) == 0
    counts = counted(world)
    (tally,) = world.tallies.values()
    events = [Event.decode(raw) for raw in world.events]
    assert TALLY.unpack(tally)[0] == counts[Counter.STOPPED] == len(steps)
    assert len(events) + counts.get(Counter.LOST, 0) + counts.get(Counter.MERGED, 0) == len(steps)
    assert all(later.at_ns - before.at_ns >= merge_ns for before, later in pairwise(events))
    assert [event.openings for event in events] == sorted({event.openings for event in events})
    assert [event.sequence for event in events] == list(range(len(events)))
    if room:
        assert events[0].openings == 1


def at_times(world: World, *times_ns: int) -> list[int]:
    """Let the same opening happen at these times; give how many events there were after each."""
    told = []
    for world.now_ns in times_ns:
        Machine(PROGRAM, world).run(READ_WRITE, CHARACTER, 195, 0)
        told.append(len(world.events))
    return told


def test_an_opening_is_told_again_when_its_time_is_over() -> None:
    world = World(settings=Settings(mode=Mode.DENY, lease_until_ns=1 << 40, merge_ns=10))
    assert at_times(world, 100, 109, 110, 119, 120) == [1, 1, 2, 2, 3]
    assert [Event.decode(raw).openings for raw in world.events] == [1, 3, 5]


def test_one_that_was_lost_is_made_good_by_the_next() -> None:
    world = World(settings=Settings(mode=Mode.DENY, lease_until_ns=1 << 40, merge_ns=10), ring_max=0)
    assert at_times(world, 100, 101) == [0, 0]
    world.ring_max = 1
    assert at_times(world, 102) == [1]
    assert counted(world)[Counter.LOST] == 2
    (event,) = map(Event.decode, world.events)
    assert (event.openings, event.sequence) == (3, 2)


def test_who_is_held_is_never_merged() -> None:
    settings = Settings(mode=Mode.OBSERVE, lease_until_ns=1 << 40, hold_until_ns=1 << 40, merge_ns=10)
    world = World(settings=settings)
    assert at_times(world, 100, 101, 102) == [1, 2, 3]
    assert world.signals == [signal.SIGSTOP] * 3
    assert sorted(world.held) == [0, 1, 2]


@pytest.mark.parametrize(
    ("changed", "access"),
    [
        ({"allowed": frozenset([7])}, READ_WRITE),
        ({"refused": -1}, READ_WRITE),
        ({"now_ns": 2000}, READ_WRITE),
        ({}, Access.MKNOD),
    ],
)
def test_who_is_not_held(changed: dict[str, Any], access: Access) -> None:
    settings = Settings(mode=Mode.OBSERVE, lease_until_ns=1 << 40, hold_until_ns=2000)
    world = World(**{"settings": settings, "groups": (5, 7), **changed})
    assert Machine(PROGRAM, world).run(access, CHARACTER, 195, 0) == 1
    assert (world.signals, world.held, len(world.events)) == ([], {}, 1)


@pytest.mark.parametrize("access", [Access.READ, Access.WRITE, Access.MKNOD | Access.READ])
def test_who_is_held(access: Access) -> None:
    settings = Settings(mode=Mode.OBSERVE, lease_until_ns=1 << 40, hold_until_ns=2000)
    world = World(settings=settings, groups=(5, 7))
    assert Machine(PROGRAM, world).run(access, CHARACTER, 195, 0) == 1
    assert (world.signals, len(world.held), len(world.events)) == ([signal.SIGSTOP], 1, 1)
    assert (counted(world)[Counter.HELD], Counter.UNHELD in counted(world)) == (1, False)


@pytest.mark.parametrize("changed", [{"held_max": 0}, {"signal_result": -1}])
def test_who_cannot_be_held_is_told_as_not_held(changed: dict[str, Any]) -> None:
    settings = Settings(mode=Mode.OBSERVE, lease_until_ns=1 << 40, hold_until_ns=2000)
    world = World(settings=settings, **changed)
    assert Machine(PROGRAM, world).run(READ_WRITE, CHARACTER, 195, 0) == 1
    assert (world.signals, world.held, Event.decode(world.events[0]).flags) == ([], {}, Flag(0))
    assert (counted(world)[Counter.UNHELD], Counter.HELD in counted(world)) == (1, False)


@pytest.mark.parametrize(("result", "counter"), [(0, Counter.KILLED), (-1, Counter.UNKILLED)])
def test_kills_are_counted(result: int, counter: Counter) -> None:
    world = World(settings=Settings(mode=Mode.KILL, lease_until_ns=1 << 40), signal_result=result)
    assert Machine(PROGRAM, world).run(READ_WRITE, CHARACTER, 195, 0) == 0
    both = {one for one in (Counter.KILLED, Counter.UNKILLED) if counted(world).get(one)}
    assert both == {counter}


@pytest.mark.parametrize(("level", "looked_for"), [(1, True), (MAX_LEVEL, True), (MAX_LEVEL + 1, False)])
def test_the_list_is_looked_at_down_to_a_level_and_callers_at_any(level: int, looked_for: bool) -> None:
    groups = tuple(range(100, 100 + MAX_LEVEL + 5))
    allowed = groups[level - 1]
    world = World(Settings(mode=Mode.DENY, lease_until_ns=1 << 40), groups=groups, allowed=frozenset([allowed]))
    assert Machine(PROGRAM, world).run(READ_WRITE, CHARACTER, 195, 0) == looked_for
    assert Event.decode(world.events[0]).listed_id == (allowed if looked_for else 0)


def test_without_a_look_at_the_task_it_does_not_know_when_the_process_began() -> None:
    world = World(settings=Settings(mode=Mode.DENY, lease_until_ns=1 << 40))
    assert Machine(WITHOUT_TASK, world).run(READ_WRITE, CHARACTER, 195, 0) == 0
    assert Event.decode(world.events[0]).opening.started_ns == 0


def test_a_mode_it_does_not_know_refuses() -> None:
    unknown = max(Mode) + 1
    world = World(settings=Settings(mode=unknown, lease_until_ns=1 << 40))  # type: ignore[arg-type]
    assert Machine(PROGRAM, world).run(READ_WRITE, CHARACTER, 195, 0) == 0
    assert (counted(world)[Counter.STOPPED], world.signals) == (1, [])


def test_layouts_agree_with_the_places_of_fields() -> None:
    assert EVENT.size == At.COMM + 16
    assert IDENTITY.size == At.AT_NS
    assert EVENT.size % 8 == IDENTITY.size % 8 == 0


@pytest.mark.parametrize("features", [Features(), Features(signals=False)])
def test_the_verifier_takes_it(place_root: Path, features: Features) -> None:
    def one(kind: MapType, key_bytes: int, value_bytes: int, entries: int) -> int:
        return bpf.create_map(kind, "test", key_bytes=key_bytes, value_bytes=value_bytes, entries=entries)

    maps = Maps(
        settings=one(MapType.ARRAY, 4, SETTINGS.size, 1),
        counters=one(MapType.ARRAY, 4, COUNTERS.size, 1),
        allowed=one(MapType.HASH, 8, 1, 16),
        tallies=one(MapType.LRU_HASH, IDENTITY.size, TALLY.size, 16),
        held=one(MapType.HASH, 8, HOLD.size, 16),
        ring=one(MapType.RINGBUF, 0, 0, 4096),
    )
    program = bpf.load_program(encode(build(GPUS * 16, maps, features)), "test")
    for fd in (program, *(getattr(maps, name) for name in Maps.NAMES)):
        os.close(fd)


def test_a_program_that_the_verifier_refuses_comes_with_its_words(place_root: Path) -> None:
    with pytest.raises(bpf.ProgramRefused, match="R0"):
        bpf.load_program(bytes.fromhex("9500000000000000"), "test")
