"""Confirmation by hold: who has the device is OPEN, who has nothing is ATTEMPT; all go on, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import GateUnavailable
from agent.gate import bpf, proc, watchdog
from agent.gate.event import HOLD, HOLD_KEY, Counter, Flag
from agent.gate.gate import Gate, now_ns
from agent.gate.hold import Confirmation, Holder, Strength, to_be_confirmed
from agent.gate.objects import HELD_MAX
from tests.fakes.gates import CONSOLES, Opener, Place
from tests.fakes.wait import alive, until

DEVICES = (CONSOLES,)
REPOSITORY = Path(__file__).parents[3]


@contextmanager
def holding(place: Place, **limits: int) -> Iterator[tuple[Gate, Holder]]:
    with place.gate() as gate:
        try:
            holder = Holder(gate, DEVICES, **limits)
        except GateUnavailable as error:
            pytest.skip(error.message)
        with holder:
            yield gate, holder


def turn(gate: Gate, holder: Holder, seen: list[Confirmation]) -> None:
    holder.arm()
    gate.wait(min(0.05, holder.pause_seconds))
    for event in filter(to_be_confirmed, gate.events()):
        holder.take(event)
    seen += holder.step()


def confirm(gate: Gate, holder: Holder, count: int) -> list[Confirmation]:
    seen: list[Confirmation] = []

    def all_seen() -> bool:
        turn(gate, holder, seen)
        return len(seen) >= count and not holder.pending

    until(all_seen, f"{count} confirmations")
    return seen


def stopped(opener: Opener) -> bool:
    return proc.stands(opener.pid, opener.pid) and alive(opener.pid)


def test_who_keeps_the_descriptor_is_open(place: Place) -> None:
    with holding(place) as (gate, holder):
        opener = place.start("keep")
        (seen,) = confirm(gate, holder, 1)
        got = opener.hear()["got"]
    assert (seen.strength, seen.descriptors, seen.stood) == (Strength.OPEN, (got,), True)
    assert opener.end() == 0
    assert opener.said[-1]["left"] == [got]


def test_who_only_asked_is_an_attempt(place: Place) -> None:
    with holding(place) as (gate, holder):
        opener = place.start("access")
        (seen,) = confirm(gate, holder, 1)
        assert opener.hear()["could"]
    assert (seen.strength, seen.descriptors, seen.mappings, seen.stood) == (Strength.ATTEMPT, (), (), True)


def test_who_opens_and_closes_at_once_is_open_all_the_same(place: Place) -> None:
    with holding(place) as (gate, holder):
        opener = place.start("close")
        (seen,) = confirm(gate, holder, 1)
        opener.hear()
    assert (seen.strength, seen.stood) == (Strength.OPEN, True)


def test_who_resists_is_told_all_the_same(place: Place) -> None:
    with holding(place, patience_ns=100_000_000) as (gate, holder):
        opener = place.start("resist")
        (seen,) = confirm(gate, holder, 1)
        assert opener.hear()["got"] >= 0
        assert seen.event.opening.pid == opener.pid
        assert opener.end() == 0


def test_without_the_kernels_hold_who_closed_is_an_attempt_and_who_keeps_it_is_open(place: Place) -> None:
    with holding(place) as (gate, holder):
        gate.hold_until(0)
        closed, kept = place.start("close"), place.start("keep")
        closed.hear(), kept.hear()
        events = list(gate.events())
        assert [event.flags for event in events] == [Flag(0), Flag(0)]
        for event in events:
            holder.take(event)
        seen: list[Confirmation] = []
        until(lambda: seen.extend(holder.step()) or len(seen) == 2, "two confirmations")  # type: ignore[func-returns-value]
        strengths = {one.event.opening.pid: (one.strength, one.stood) for one in seen}
        assert strengths == {closed.pid: (Strength.ATTEMPT, True), kept.pid: (Strength.OPEN, True)}
    assert (closed.end(), kept.end()) == (0, 0)


def test_openers_of_less_than_a_millisecond_are_each_confirmed(place: Place) -> None:
    with holding(place) as (gate, holder):
        opener = place.start("forks", "300")
        seen = confirm(gate, holder, 300)
        counters = gate.counters()
    assert opener.end() == 0
    assert opener.said[0]["opened"] == 300
    assert {one.strength for one in seen} == {Strength.OPEN}
    assert len({one.event.opening.pid for one in seen}) == counters[Counter.HELD] == 300


def test_threads_that_open_at_once_are_each_confirmed_and_go_on(place: Place) -> None:
    with holding(place) as (gate, holder):
        opener = place.start("threads", "8")
        seen = confirm(gate, holder, 8)
    assert opener.end() == 0
    assert opener.said[-1]["opened"] == 8
    assert {one.strength for one in seen} == {Strength.OPEN}


def test_the_first_process_of_a_pid_namespace_is_held_too(place: Place) -> None:
    with holding(place) as (gate, holder):
        opener = place.start("keep", before=("unshare", "--pid", "--fork", "--kill-child"))
        (seen,) = confirm(gate, holder, 1)
        assert opener.hear()["pid"] == 1
    assert (seen.strength, seen.stood) == (Strength.OPEN, True)


@pytest.mark.parametrize("how", [(), ("async",)])
def test_who_opens_by_io_uring_is_held_too(place: Place, how: tuple[str, ...]) -> None:
    with holding(place) as (gate, holder):
        opener = place.start("uring", *how)
        seen: list[Confirmation] = []
        until(lambda: turn(gate, holder, seen) or opener.process.poll() is not None, "the opener's end")  # type: ignore[func-returns-value]
        opener.end()
        if "unavailable" in opener.said[0]:
            pytest.skip("the kernel forbids io_uring here")
    assert [(one.strength, one.stood) for one in seen] == [(Strength.OPEN, True)]


def test_who_is_killed_while_it_stands_has_nothing(place: Place) -> None:
    with holding(place) as (gate, holder):
        opener = place.start("keep")
        assert gate.wait(60)
        until(lambda: stopped(opener), "the opener stands")
        opener.process.kill()
        opener.process.wait()
        (seen,) = confirm(gate, holder, 1)
    assert (seen.strength, seen.stood) == (Strength.ATTEMPT, False)


def test_who_is_gone_before_its_event_is_taken_has_nothing(place: Place) -> None:
    with holding(place) as (gate, holder):
        holder.disarm()
        place.run("forks", "2")
        first, second = gate.events()
        holder.take(first)
        (seen,) = holder.step()
        holder.take(second)  # and the holder is closed with that unanswered
    assert (seen.strength, seen.stood) == (Strength.ATTEMPT, False)


def test_who_stands_goes_on_when_the_holder_is_closed(place: Place) -> None:
    with holding(place) as (gate, _):
        opener = place.start("keep")
        assert gate.wait(60)
        until(lambda: stopped(opener), "the opener stands")
    assert opener.hear()["got"] >= 0


def test_who_stands_for_too_long_is_let_go_by_the_watchdog(place: Place) -> None:
    with holding(place) as (gate, _):
        opener = place.start("keep")
        assert gate.wait(60)
        assert opener.hear()["got"] >= 0  # nobody took the event


def test_who_does_not_stand_yet_is_left_to_its_opening(place: Place) -> None:
    with place.gate() as gate:
        opener = place.start("keep")
        opener.hear()
        key = HOLD_KEY.pack(1)
        bpf.update(gate.held_fd, key, HOLD.pack(now_ns(), opener.pid, opener.pid))
        assert watchdog.release_overdue(gate.held_fd, {}, limit_ns=5, at_ns=100) == {}
        opener.process.send_signal(signal.SIGSTOP)
        until(lambda: stopped(opener), "the opener stands")
        assert watchdog.release_overdue(gate.held_fd, {}, limit_ns=5, at_ns=200) == {key: 200}
        assert watchdog.release_overdue(gate.held_fd, {key: 200}, limit_ns=5, at_ns=204) == {key: 200}
        assert stopped(opener)
        watchdog.release_overdue(gate.held_fd, {key: 200}, limit_ns=5, at_ns=205)
        until(lambda: not stopped(opener), "the opener goes on")
        assert list(bpf.keys(gate.held_fd, HOLD_KEY.size)) == []


def test_nobody_is_stopped_whom_the_watchdog_would_not_know_of(place: Place) -> None:
    with holding(place) as (gate, holder):
        for number in range(HELD_MAX):
            bpf.update(gate.held_fd, HOLD_KEY.pack(1 << 63 | number), HOLD.pack(0, os.getpid(), os.getpid() + 1))
        opener = place.start("keep")
        opener.hear()
        (seen,) = confirm(gate, holder, 1)
        assert gate.counters()[Counter.UNHELD] == 1
    assert (seen.event.flags, seen.strength, seen.stood) == (Flag(0), Strength.OPEN, False)


def test_a_watchdog_that_was_killed_is_started_anew(place: Place) -> None:
    with holding(place) as (gate, holder):
        first = holder.watchdog_pid
        subprocess.run(["kill", "-9", str(first)], check=True)
        until(lambda: not alive(first), "the watchdog's end")
        holder.arm()
        assert holder.watchdog_pid != first
        opener = place.start("keep")
        assert gate.wait(60)
        assert opener.hear()["got"] >= 0


def test_nobody_is_held_once_the_holder_no_longer_renews(place: Place) -> None:
    with holding(place) as (gate, _):
        gate.hold_until(1)
        assert place.run("once").said[0]["got"] >= 0
        assert gate.counters()[Counter.HELD] == 0


def test_after_the_holders_death_those_who_stand_go_on_and_nobody_is_held_any_more(place: Place) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-c", DYING, place.cgroup, str(CONSOLES)], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
    )
    assert agent.stdout is not None
    if agent.stdout.readline() != "holds\n":
        pytest.skip("no holds on this machine")
    openers = [place.start("keep") for _ in range(3)]
    until(lambda: all(map(stopped, openers)), "all openers stand")
    agent.kill()
    agent.communicate()
    assert [opener.hear()["got"] >= 0 for opener in openers] == [True] * 3
    assert place.run("once").said[0]["got"] >= 0


def test_who_was_left_standing_goes_on_when_the_gate_is_taken_over(place: Place) -> None:
    name = place.cgroup.name
    opener = place.start("keep")
    opener.hear()
    with Gate.open(place.config(name=name)) as gate:
        opener.process.send_signal(signal.SIGSTOP)
        until(lambda: stopped(opener), "the opener stands")
        bpf.update(gate.held_fd, HOLD_KEY.pack(1), HOLD.pack(now_ns(), opener.pid, opener.pid))
    with place.gate(name=name) as again:
        assert again.adopted
        until(lambda: not stopped(opener), "the opener goes on")
    assert opener.end() == 0


def test_allowed_openers_are_never_held(place: Place) -> None:
    with holding(place) as (gate, _):
        booked = place.group("booked")
        gate.allow(booked)
        assert place.run("once", cgroup=booked).said[0]["got"] >= 0
        (event,) = gate.events()
        assert event.flags == Flag(0)
        assert not to_be_confirmed(event)


# A limit beyond the test's patience: whoever goes on does so since the agent died.
DYING = """
import sys
from pathlib import Path
from agent.errors import GateUnavailable
from agent.gate.device import DeviceRange
from agent.gate.event import Mode, Settings
from agent.gate.gate import Gate, GateConfig, now_ns
from agent.gate.hold import Holder
devices = (DeviceRange.parse(sys.argv[2]),)
settings = Settings(mode=Mode.OBSERVE, lease_until_ns=now_ns() + 10**12)
gate = Gate.open(GateConfig(devices=devices, settings=settings, cgroup=Path(sys.argv[1])))
try:
    holder = Holder(gate, devices, limit_ns=10**12)
except GateUnavailable:
    print("cannot", flush=True)
    raise
print("holds", flush=True)
while True:
    holder.arm()
    gate.wait(0.5)
"""
