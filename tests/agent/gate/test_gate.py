"""The gate at a real control group, with real processes: what it sees, refuses, counts, and what it survives."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import GateBusy, GateMismatch, InvalidSetting
from agent.gate import bpf, btf, mounts, proc
from agent.gate.device import DeviceRange
from agent.gate.event import CGROUP, Access, Counter, Event, Mode, Settings, Verdict
from agent.gate.gate import Gate, GateConfig, now_ns
from agent.gate.objects import LISTED_MAX
from agent.gate.program import MAX_LEVEL
from tests.fakes.gates import CONSOLES, LIMIT_SECONDS, Place, of_pid
from tests.fakes.wait import alive, until

REFUSING = (Mode.DENY, Mode.KILL)


def test_an_opening_is_told_with_who_and_what(place: Place) -> None:
    with place.gate() as gate:
        before_ns = now_ns()
        opener = place.run("once")
        (event,) = gate.events()
    assert opener.said[0]["got"] >= 0
    assert event.opening.pid == event.tid == opener.pid
    assert (event.opening.major, event.opening.minor) == (CONSOLES.major, place.minor)
    assert event.opening.access == Access.READ | Access.WRITE
    assert (event.opening.verdict, event.opening.mode) == (Verdict.OBSERVED, Mode.OBSERVE)
    assert event.opening.cgroup_id == place.cgroup.stat().st_ino
    assert event.comm.startswith("python")
    assert before_ns < event.at_ns < now_ns()
    assert (event.opening.uid, event.openings, event.sequence, event.listed_id) == (os.getuid(), 1, 0, 0)


def test_when_the_process_began_is_told_to_the_nanosecond_even_by_another_thread(place: Place) -> None:
    with place.gate() as gate:
        if gate.features.task is None:
            pytest.skip("the kernel tells no types (BTF)")
        opener = place.start("keep")
        opener.hear()
        started_ns = proc.started_ns(opener.pid)
        thread = place.run("thread")
        first, second = gate.events()
        opener.end()
    assert first.opening.started_ns // proc.TICK_NS * proc.TICK_NS == started_ns
    assert second.opening.pid == thread.pid != second.tid
    assert first.at_ns > first.opening.started_ns
    assert second.at_ns > second.opening.started_ns > first.opening.started_ns


def test_what_the_kernel_grants_here_is_used(place: Place) -> None:
    """A mend that makes the verifier refuse the better programs would otherwise go unseen."""
    with place.gate() as gate:
        assert gate.features.signals
        assert (gate.features.task is not None) == btf.VMLINUX.exists()


def test_other_devices_are_none_of_its_business(place: Place) -> None:
    with place.gate(Mode.DENY, devices=(DeviceRange(major=CONSOLES.major, first=place.minor + 1),)) as gate:
        assert place.run("once").said[0]["got"] >= 0
        assert list(gate.events()) == []


def test_a_thousand_openers_of_less_than_a_millisecond_are_all_seen(place: Place) -> None:
    with place.gate() as gate:
        opener = place.run("forks", "1000")
        seen = {event.opening.pid for event in gate.events()}
        counters = gate.counters()
    assert opener.said[0]["opened"] == 1000
    assert len(seen) == counters[Counter.OBSERVED] == 1000
    assert counters[Counter.LOST] == counters[Counter.MERGED] == 0


@pytest.mark.parametrize("mode", REFUSING)
def test_who_is_not_allowed_gets_nothing(place: Place, mode: Mode) -> None:
    with place.gate(mode) as gate:
        opener = place.run("once")
        (event,) = gate.events()
        counters = gate.counters()
    assert (event.opening.verdict, event.opening.mode) == (Verdict.STOPPED, mode)
    assert counters[Counter.STOPPED] == 1
    if mode is Mode.KILL:
        assert (opener.process.returncode, opener.said) == (-signal.SIGKILL, [])
        assert counters[Counter.KILLED] == 1
    else:
        assert opener.said[0]["got"] == -errno.EPERM


@pytest.mark.parametrize("mode", REFUSING)
def test_no_descriptor_stays_with_a_process_that_shares_the_table(place: Place, mode: Mode) -> None:
    with place.gate(mode) as gate:
        opener = place.run("sibling")
        (event,) = gate.events()
    (said,) = opener.said
    assert event.opening.pid == said["child"]
    assert said["left"] == []
    assert said["status"] == (-signal.SIGKILL if mode is Mode.KILL else 1)


def test_a_descriptor_would_stay_if_the_gate_let_it_through(place: Place) -> None:
    with place.gate():
        assert len(place.run("sibling").said[0]["left"]) == 1


@pytest.mark.parametrize("mode", REFUSING)
def test_a_thread_is_stopped_like_its_process(place: Place, mode: Mode) -> None:
    with place.gate(mode) as gate:
        opener = place.run("thread")
        (event,) = gate.events()
    assert event.opening.pid == opener.pid
    assert event.tid != opener.pid
    assert opener.said == [] if mode is Mode.KILL else opener.said[1]["left"] == []


def test_another_name_hides_nothing(place: Place) -> None:
    with place.gate(Mode.DENY) as gate:
        opener = place.run("once", node=place.make_node("innocent"))
        (event,) = gate.events()
    assert opener.said[0]["got"] == -errno.EPERM
    assert (event.opening.pid, event.opening.minor) == (opener.pid, place.minor)


def test_another_mount_namespace_hides_nothing(place: Place) -> None:
    with place.gate(Mode.DENY) as gate:
        opener = place.run("bind", place.folder)
        (event,) = gate.events()
    assert opener.said[0]["got"] == -errno.EPERM
    assert (event.opening.pid, event.opening.minor) == (opener.pid, place.minor)


def test_making_a_node_is_told_apart(place: Place) -> None:
    with place.gate(Mode.OBSERVE) as gate:
        opener = place.run("alias", place.folder)
        made, opened = gate.events()
    assert opener.said[0]["got"] >= 0
    assert made.opening.access == Access.MKNOD
    assert opened.opening.access == Access.READ | Access.WRITE


def test_making_a_node_is_stopped_too(place: Place) -> None:
    with place.gate(Mode.DENY) as gate:
        opener = place.run("alias", place.folder)
        (event,) = gate.events()
    assert opener.said[0]["made"] == -errno.EPERM
    assert (event.opening.access, event.opening.verdict) == (Access.MKNOD, Verdict.STOPPED)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("how", [(), ("async",)])
def test_io_uring_goes_through_the_gate(place: Place, mode: Mode, how: tuple[str, ...]) -> None:
    with place.gate(mode) as gate:
        opener = place.run("uring", *how)
        events = list(gate.events())
    if opener.said and "unavailable" in opener.said[0]:
        pytest.skip(f"the kernel forbids io_uring here: {opener.said[0]['unavailable']}")
    (event,) = events
    assert event.opening.pid == opener.pid
    assert (event.tid != opener.pid) == bool(how)
    match mode:
        case Mode.KILL:
            assert opener.process.returncode == -signal.SIGKILL
        case Mode.DENY:
            assert opener.said[0]["got"] == -errno.EPERM
        case Mode.OBSERVE:
            assert opener.said[0]["got"] >= 0


def test_an_allowed_group_and_what_nests_in_it_pass_and_a_sibling_does_not(place: Place) -> None:
    booked, other = place.group("booked"), place.group("other")
    nested = place.group("booked", "container", "job")
    with place.gate(Mode.DENY, allowed=(booked,)) as gate:
        for cgroup in (booked, nested):
            assert place.run("once", cgroup=cgroup).said[0]["got"] >= 0
        for cgroup in (other, place.cgroup):
            assert place.run("once", cgroup=cgroup).said[0]["got"] == -errno.EPERM
        events = list(gate.events())
        paths = [gate.path_of(event.opening.cgroup_id) for event in events]
    verdicts = [event.opening.verdict for event in events]
    assert verdicts == [Verdict.ALLOWED, Verdict.ALLOWED, Verdict.STOPPED, Verdict.STOPPED]
    assert [event.listed_id for event in events] == [booked.stat().st_ino] * 2 + [0, 0]
    assert [path and path.name for path in paths] == ["booked", "job", "other", place.cgroup.name]


def test_a_group_made_after_its_ancestor_was_allowed_is_allowed(place: Place) -> None:
    with place.gate(Mode.DENY) as gate:
        booked = gate.allow(place.group("booked"))
        assert gate.allowed() == {booked}
        later = place.group("booked", "later")
        assert place.run("once", cgroup=later).said[0]["got"] >= 0
        assert gate.revoke(booked)
        assert not gate.revoke(booked)
        assert place.run("once", cgroup=later).said[0]["got"] == -errno.EPERM


def test_the_root_and_groups_too_deep_to_be_looked_for_cannot_be_allowed(place: Place) -> None:
    deep = place.group(*(["deep"] * MAX_LEVEL))
    with place.gate(Mode.DENY) as gate:
        for path in (Path("/"), deep, place.cgroup / "nowhere"):
            with pytest.raises(InvalidSetting):
                gate.allow(path)
        gate.allow(deep.parent)
        assert place.run("once", cgroup=place.group(*(["deep"] * (MAX_LEVEL + 4)))).said[0]["got"] >= 0


def test_a_full_list_is_told(place: Place) -> None:
    with place.gate(Mode.DENY) as gate:
        first = gate.allow(place.group("first"))
        for number in range(1 << 40, (1 << 40) + LISTED_MAX - 1):
            bpf.update(gate.allowed_fd, CGROUP.pack(number), b"\1")
        with pytest.raises(InvalidSetting, match="found 4096"):
            gate.allow(place.group("second"))
        assert gate.revoke(first)
        gate.allow(place.group("second"))


def test_the_mode_changes_without_a_new_program(place: Place) -> None:
    with place.gate(Mode.OBSERVE) as gate:
        before = gate.health()
        assert place.run("once").said[0]["got"] >= 0
        gate.set_mode(Mode.DENY)
        assert place.run("once").said[0]["got"] == -errno.EPERM
        after = gate.health()
    assert (before.link_id, before.program_id, before.boot_id) == (after.link_id, after.program_id, after.boot_id)
    assert (before.settings.mode, after.settings.mode) == (Mode.OBSERVE, Mode.DENY)


def test_what_another_program_refused_is_told_as_refused(place: Place) -> None:
    inner = place.group("inner")
    with place.gate(Mode.OBSERVE) as gate, place.gate(Mode.DENY, cgroup=inner):
        assert place.run("once", cgroup=inner).said[0]["got"] == -errno.EPERM
        (event,) = gate.events()
    assert event.opening.verdict is Verdict.REFUSED


def test_a_flood_is_merged_and_each_opening_counted(place: Place) -> None:
    with place.gate() as gate:
        opener = place.run("flood", "20000")
        events = list(gate.events())
        (tally,) = gate.tallies()
        counters = gate.counters()
    assert opener.said[0]["opened"] == 20_000
    assert counters[Counter.OBSERVED] == tally.openings == 20_000
    assert counters[Counter.MERGED] == 20_000 - len(events)
    assert counters[Counter.LOST] == 0
    assert len(events) < 2_000
    assert [event.openings for event in events] == sorted({event.openings for event in events})
    assert events[0].openings == 1


def test_without_merging_an_unread_ring_overflows_and_counts_what_it_loses(place: Place) -> None:
    settings = Settings(mode=Mode.OBSERVE, lease_until_ns=now_ns() + LIMIT_SECONDS * 10**9, merge_ns=0)
    with place.gate(ring_bytes=4096, settings=settings) as gate:
        place.run("flood", "1000")
        kept = list(gate.events())
        counters = gate.counters()
        place.run("once")
        (after,) = gate.events()
    assert counters[Counter.OBSERVED] == counters[Counter.EMITTED] == 1000
    assert 0 < len(kept) == 1000 - counters[Counter.LOST]
    assert [event.sequence for event in kept] == list(range(len(kept)))
    assert after.sequence == 1000


def test_the_lost_first_of_a_flood_is_told_by_the_next_there_is_room_for(place: Place) -> None:
    with place.gate(ring_bytes=4096) as gate:
        place.run("forks", "60")
        opener = place.start("flood", "1000000")
        until(lambda: gate.counters()[Counter.LOST] > 60, "the flood finds a full ring")
        list(gate.events())
        events: list[Event] = []
        until(lambda: events.extend(gate.events()) or of_pid(events, opener.pid), "the flood is told")
        opener.process.kill()
    assert of_pid(events, opener.pid)[0].openings > 1


def test_after_its_lease_it_lets_everything_through(place: Place) -> None:
    with place.gate(Mode.DENY) as gate:
        assert place.run("once").said[0]["got"] == -errno.EPERM
        gate.extend_lease(now_ns())
        assert place.run("once").said[0]["got"] >= 0
        assert gate.counters()[Counter.EXPIRED] == 1
        gate.extend_lease(now_ns() + LIMIT_SECONDS * 10**9)
        assert place.run("once").said[0]["got"] == -errno.EPERM


def test_it_outlives_its_maker_keeps_what_happens_and_is_taken_over(place: Place) -> None:
    name = place.cgroup.name
    booked = place.group("booked")
    maker = _Maker(place, name, booked, lease_ns=LIMIT_SECONDS * 10**9)
    maker.kill()
    assert place.run("once").said[0]["got"] == -errno.EPERM
    assert place.run("once", cgroup=booked).said[0]["got"] >= 0
    with place.gate(Mode.DENY, name=name) as gate:
        events = list(gate.events())
        assert gate.adopted
        assert gate.health().attached
        assert gate.allowed() == {booked.stat().st_ino}
        with pytest.raises(GateBusy):
            Gate.open(place.config(name=name))
    assert [event.opening.verdict for event in events] == [Verdict.STOPPED, Verdict.ALLOWED]
    assert place.run("once").said[0]["got"] >= 0


def test_without_its_maker_it_lets_go_when_its_lease_ends(place: Place) -> None:
    name = place.cgroup.name
    maker = _Maker(place, name, place.group("booked"), lease_ns=3 * 10**9)
    maker.kill()
    until(lambda: place.run("once").said[0]["got"] >= 0, "the gate lets go")
    Gate.open(place.config(name=name)).close(detach=True)


def test_a_pinned_gate_of_other_devices_is_not_taken_over(place: Place) -> None:
    name = place.cgroup.name
    Gate.open(place.config(name=name)).close(detach=False)
    with pytest.raises(GateMismatch):
        Gate.open(place.config(name=name, devices=(DeviceRange(major=4000),)))
    Gate.open(place.config(name=name)).close(detach=True)


def test_a_gate_that_was_taken_off_is_known_to_be_and_put_up_anew(place: Place) -> None:
    name = place.cgroup.name
    first = Gate.open(place.config(name=name))
    bpf.detach(bpf.open_pinned(mounts.bpf_root() / "timelock" / name / "link"))
    assert not first.health().attached
    first.close(detach=False)
    with place.gate(name=name) as second:
        assert not second.adopted
        assert second.health().attached


def test_at_the_root_it_sees_a_number_that_nobody_uses(place: Place) -> None:
    devices = (DeviceRange(major=511, first=77, last=77),)
    settings = Settings(mode=Mode.OBSERVE, lease_until_ns=now_ns() + LIMIT_SECONDS * 10**9)
    gate = Gate.open(GateConfig(devices=devices, settings=settings))
    try:
        os.mknod(place.folder / "unused", 0o20600, os.makedev(511, 77))
        with pytest.raises(OSError, match="No such device"):
            os.open(place.folder / "unused", os.O_RDONLY)
        made, opened = (event for event in gate.events() if event.opening.pid == os.getpid())
        assert gate.health().attached
    finally:
        gate.close(detach=True)
    assert (made.opening.access, opened.opening.access) == (Access.MKNOD, Access.READ)


class _Maker:
    """A process that puts up a pinned gate and waits to be killed."""

    CODE = """
import sys
from pathlib import Path
from agent.gate.event import Mode, Settings
from agent.gate.gate import Gate, GateConfig, now_ns
from agent.gate.device import DeviceRange
cgroup, name, booked, lease_ns = sys.argv[1:]
settings = Settings(mode=Mode.DENY, lease_until_ns=now_ns() + int(lease_ns))
gate = Gate.open(GateConfig(devices=(DeviceRange.parse("7:0-7:7"),), settings=settings, cgroup=Path(cgroup),
                            name=name, allowed=(Path(booked),)))
print("stands", flush=True)
sys.stdin.read()
"""

    def __init__(self, place: Place, name: str, booked: Path, *, lease_ns: int) -> None:
        words = [sys.executable, "-c", self.CODE, place.cgroup, name, booked, str(lease_ns)]
        repository = Path(__file__).parents[3]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=repository)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"stands\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        assert not alive(self._process.pid)
