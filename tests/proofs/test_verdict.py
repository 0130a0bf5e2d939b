"""What a verdict says of a window: honest ones are proven; who else was there is named as surely as it is known."""

from __future__ import annotations

import pytest

from proofs import bundle
from proofs.records import (
    Accounting,
    Actor,
    Canary,
    Container,
    Down,
    Driver,
    Entered,
    Held,
    Holding,
    Opened,
    Record,
    Row,
    Scan,
)
from proofs.verdict import Outcome, Reason, Verdict, judge
from tests.proofs.world import (
    AGENT,
    BOOKED_ACTOR,
    DAEMON,
    STRANGER,
    Host,
    World,
    digest,
    world,
)

LOST = Actor(pid=77, start=1)
DAEMON_ACTOR = Actor(pid=55, start=5, cgroup=DAEMON)
AGENT_ACTOR = Actor(pid=56, start=6, cgroup=AGENT)
AT = 100


def judged(made: World) -> Verdict:
    evidence = bundle.read(made.files(), made.trust)
    return judge(evidence.grant, evidence.testimonies)


def seen(*records: object) -> Verdict:
    """The verdict when these records were written in the middle of the window."""
    return judged(world(extra={AT: records}))


def reasons(verdict: Verdict) -> list[Reason]:
    return [finding.reason for finding in verdict.findings]


def opened(actor: Actor, *, stopped: bool = False) -> object:
    return lambda at: Opened(at_ns=at, gpu="GPU-1", actor=actor, stopped=stopped)


def held(actor: Actor, *, present: bool) -> object:
    return lambda at: Held(at_ns=at, gpu="GPU-1", actor=actor, present=present)


def scanned(actor: Actor) -> object:
    return lambda at: Scan(at_ns=at, begun_ns=at, holding=(Holding(gpu="GPU-1", actor=actor),))


def listed(actor: Actor) -> object:
    row = Row(actor=actor, memory_bytes=5)
    return lambda at: Driver(at_ns=at, begun_ns=at, gpu="GPU-1", epoch=1, rows=(row,))


def accounted(actor: Actor) -> object:
    return lambda at: Accounting(at_ns=at, gpu="GPU-1", epoch=1, rows=(Row(actor=actor),))


def test_an_honest_window_is_proven() -> None:
    verdict = judged(world())
    assert (verdict.outcome, verdict.findings, verdict.attempts_stopped) == (Outcome.PROVEN, (), 0)
    (coverage,) = verdict.coverages
    assert coverage.parts_per_million == 1_000_000
    assert coverage.longest_gap_ns == 0


def test_every_gpu_of_every_host_counts() -> None:
    hosts = (Host(gpus=("GPU-1", "GPU-2")), Host(name="lab-a2", gpus=("GPU-3",), algorithm="p256"))
    verdict = judged(World(hosts=hosts))
    assert verdict.outcome is Outcome.PROVEN
    assert [found.gpu for found in verdict.coverages] == ["GPU-1", "GPU-2", "GPU-3"]
    silent = Host(name="lab-a2", gpus=("GPU-3",), silent=frozenset(range(100, 300)))
    verdict = judged(World(hosts=(hosts[0], silent)))
    assert verdict.outcome is Outcome.UNPROVEN
    assert {finding.host for finding in verdict.findings} == {"lab-a2"}


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ((opened(STRANGER), held(STRANGER, present=True)), Reason.OPEN),
        ((opened(STRANGER), scanned(STRANGER)), Reason.OPEN),
        ((opened(STRANGER), listed(STRANGER)), Reason.USE),
        ((scanned(STRANGER), listed(STRANGER)), Reason.USE),
        ((opened(STRANGER), accounted(STRANGER)), Reason.USE),
    ],
)
def test_two_families_convict(records: tuple[object, ...], reason: Reason) -> None:
    verdict = seen(*records)
    assert verdict.outcome is Outcome.VIOLATED
    (finding,) = (found for found in verdict.findings if found.reason is reason)
    assert "process 6666" in finding.detail


@pytest.mark.parametrize(
    "records",
    [
        (opened(STRANGER),),
        (opened(STRANGER), held(STRANGER, present=False)),
        (scanned(STRANGER), scanned(STRANGER)),
        (listed(STRANGER), accounted(STRANGER)),
        (opened(LOST), listed(LOST)),
        (opened(STRANGER), listed(Actor(pid=6666, start=2001, cgroup=300))),
        (opened(Actor(pid=9, start=9, cgroup=999)),),
    ],
    ids=["attempt", "gone", "one family twice", "the driver twice", "no group", "another process", "unknown group"],
)
def test_less_than_that_convicts_nobody_and_proves_nothing(records: tuple[object, ...]) -> None:
    verdict = seen(*records)
    assert verdict.outcome is Outcome.UNPROVEN
    assert Reason.FOREIGN_UNCONFIRMED in reasons(verdict)


def test_a_stopped_attempt_leaves_proven_possible() -> None:
    verdict = seen(
        opened(STRANGER, stopped=True), lambda at: Opened(at_ns=at, gpu="GPU-1", actor=LOST, stopped=True, times=4)
    )
    assert (verdict.outcome, verdict.attempts_stopped) == (Outcome.PROVEN, 5)


def test_booked_agent_and_infrastructure_may_open() -> None:
    for actor in (BOOKED_ACTOR, AGENT_ACTOR, DAEMON_ACTOR):
        assert seen(opened(actor), scanned(actor)).outcome is Outcome.PROVEN


def test_infrastructure_may_not_use() -> None:
    assert reasons(seen(opened(DAEMON_ACTOR), listed(DAEMON_ACTOR))) == [Reason.USE]
    assert reasons(seen(listed(AGENT_ACTOR))) == [Reason.FOREIGN_UNCONFIRMED]


def test_a_container_that_was_refused_counts_as_stopped_and_one_that_was_not_as_unconfirmed() -> None:
    def container(at: int, *, refused: bool) -> Record:
        return Container(at_ns=at, action="create", container=digest("x"), gpus=("GPU-1",), refused=refused)

    assert seen(lambda at: container(at, refused=True)).outcome is Outcome.PROVEN
    assert reasons(seen(lambda at: container(at, refused=False))) == [Reason.FOREIGN_UNCONFIRMED]


def test_who_comes_into_the_booked_container_from_outside_has_borrowed_it() -> None:
    def exec_(at: int, receipt: str | None = None) -> Record:
        actor = Actor(pid=88, start=8, cgroup=300)
        return Container(at_ns=at, action="exec", container=digest("x"), booked=True, actor=actor, receipt=receipt)

    entered = Actor(pid=88, start=8, cgroup=100)
    verdict = seen(exec_, lambda at: Entered(at_ns=at, actor=entered))
    assert (verdict.outcome, reasons(verdict)) == (Outcome.VIOLATED, [Reason.BORROWED])
    assert seen(exec_).outcome is Outcome.UNPROVEN
    assert seen(lambda at: exec_(at, digest("receipt"))).outcome is Outcome.PROVEN


def test_who_was_there_before_and_after_the_window_is_not_held_against_it() -> None:
    verdict = judged(world(extra={-20: (opened(STRANGER), scanned(STRANGER)), 620: (opened(STRANGER),)}))
    assert verdict.outcome is Outcome.PROVEN


def test_the_first_look_must_be_clean() -> None:
    verdict = judged(world(extra={-30: (scanned(STRANGER),)}))
    assert reasons(verdict) == [Reason.NOT_CLEAN_AT_FIRST]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"silent": frozenset(range(101, 103))}, []),
        ({"silent": frozenset(range(100, 108))}, [Reason.COVERAGE]),
        ({"silent": frozenset(range(100, 116))}, [Reason.COVERAGE, Reason.GAP]),
        ({"from_s": 60}, [Reason.COVERAGE, Reason.GAP]),
        ({"until_s": 500}, [Reason.COVERAGE, Reason.GAP]),
        ({"closes": False, "until_s": 590}, [Reason.NOT_CLOSED, Reason.COVERAGE, Reason.GAP]),
        ({"closes": False, "until_s": 690}, [Reason.NOT_CLOSED]),
        ({"no_heartbeat": frozenset(range(100, 200))}, []),
        ({"no_heartbeat": frozenset(range(100, 240))}, [Reason.COVERAGE, Reason.GAP]),
        ({"reboots_at": 300, "silent": frozenset(range(290, 300))}, [Reason.COVERAGE, Reason.GAP]),
        ({"paused_at": 300, "paused_s": 60}, [Reason.COVERAGE, Reason.GAP]),
        ({"required": ("gate", "scan", "driver", "accounting")}, [Reason.COVERAGE, Reason.GAP]),
        ({"required": ("gate", "engine")}, [Reason.COVERAGE, Reason.GAP]),
    ],
)
def test_silence_is_unproven_by_what_is_missing(changes: dict[str, object], expected: list[Reason]) -> None:
    verdict = judged(world(**changes))
    assert sorted(reasons(verdict)) == sorted(expected)
    assert verdict.outcome is (Outcome.UNPROVEN if expected else Outcome.PROVEN)


@pytest.mark.parametrize(
    "record",
    [
        lambda at: Canary(at_ns=at, gpu="GPU-1", seen=False),
        lambda at: Down(at_ns=at, source="gate", reason="detached"),
        lambda at: Down(at_ns=at, source="scan", reason="no permission"),
        lambda at: Down(at_ns=at, source="driver", reason="hangs"),
    ],
)
def test_a_source_that_fails_covers_nothing_until_it_works_again(record: object) -> None:
    (coverage,) = seen(record).coverages
    assert coverage.longest_gap_ns > 0


@pytest.mark.parametrize("mode", ["observe", "kill"])
def test_a_gate_in_another_mode_than_granted_covers_nothing(mode: str) -> None:
    made = World(hosts=(Host(mode=mode),))
    assert judged(made).coverages[0].covered_ns == 0
