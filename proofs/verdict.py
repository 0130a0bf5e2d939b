"""The verdict: what checked evidence says about a window. The steps are numbered as in docs/evidence-format.md.

Silence is UNPROVEN, never PROVEN and never by itself VIOLATED. To convict, two families of observation must have seen
the same foreign actor. A stopped attempt leaves PROVEN possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from proofs import coverage, spans
from proofs.actors import Standing
from proofs.clock import stretches
from proofs.coverage import Coverage
from proofs.sightings import Family, Sighting, Strength
from proofs.spans import Span, Spans
from proofs.statement import Grant
from proofs.testimony import Life, Testimony


class Outcome(StrEnum):
    """What a verdict can be. Evidence that is rejected gets none."""

    PROVEN = "PROVEN"
    VIOLATED = "VIOLATED"
    UNPROVEN = "UNPROVEN"


class Reason(StrEnum):
    """Why it is not PROVEN. Codes are part of the format: they are never renamed."""

    USE = "USE"  # somebody else used a booked GPU
    OPEN = "OPEN"  # somebody else had a booked GPU's device open
    BORROWED = "BORROWED"  # somebody came into the booked container from outside
    FOREIGN_UNCONFIRMED = "FOREIGN_UNCONFIRMED"  # somebody else was seen, but not by two families, or not surely
    NOT_CLEAN_AT_FIRST = "NOT_CLEAN_AT_FIRST"  # the first look already found somebody else
    NOT_CLOSED = "NOT_CLOSED"  # the agent's last word is missing
    COVERAGE = "COVERAGE"  # too little of the window was watched
    GAP = "GAP"  # too long a hole


CONVICTING = frozenset({Reason.USE, Reason.OPEN, Reason.BORROWED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that keeps the verdict from being PROVEN: why, where, when (the earliest UTC it can have been), who."""

    reason: Reason
    host: str
    gpu: str = ""
    at_ns: int | None = None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What can be said, and on what it stands."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    coverages: tuple[Coverage, ...]
    attempts_stopped: int
    level: str
    simulated: bool


def judge(grant: Grant, testimonies: dict[str, Testimony]) -> Verdict:
    """Judge the window of `grant` by what each of its hosts has testified."""
    window = (grant.start_ns, grant.end_ns)
    findings, coverages, stopped = list[Finding](), list[Coverage](), 0
    for host, testimony in sorted(testimonies.items()):
        case = _Case(host, grant, testimony)
        findings += case.findings(window)
        coverages += case.coverages(window)
        stopped += case.stopped(window)
    findings += _short(grant, coverages, {gpu: host for host in grant.hosts for gpu in grant.hosts[host].gpus})
    reasons = {finding.reason for finding in findings}
    outcome = Outcome.VIOLATED if reasons & CONVICTING else Outcome.UNPROVEN if reasons else Outcome.PROVEN
    return Verdict(
        outcome=outcome,
        findings=tuple(sorted(findings, key=lambda found: (found.reason not in CONVICTING, found.at_ns or 0))),
        coverages=tuple(coverages),
        attempts_stopped=stopped,
        level=grant.level,
        simulated=grant.simulated,
    )


def _short(grant: Grant, coverages: Sequence[Coverage], host_of: dict[str, str]) -> Iterator[Finding]:
    """Step 10: coverage and longest gap, against the limits of the grant."""
    limits = grant.limits
    for found in coverages:
        if found.parts_per_million < limits.least_coverage_ppm:
            detail = f"{found.parts_per_million} ppm of the window were watched, {limits.least_coverage_ppm} are due"
            yield Finding(reason=Reason.COVERAGE, host=host_of[found.gpu], gpu=found.gpu, detail=detail)
        if found.longest_gap_ns > limits.longest_gap_ns:
            detail = f"the longest hole has {found.longest_gap_ns} ns, {limits.longest_gap_ns} are allowed"
            yield Finding(reason=Reason.GAP, host=host_of[found.gpu], gpu=found.gpu, detail=detail)


class _Case:
    """One host's part of the judgement."""

    def __init__(self, host: str, grant: Grant, testimony: Testimony) -> None:
        self._host = host
        self._grant = grant
        self._testimony = testimony
        self._gpus = grant.hosts[host].gpus
        self._boots = [_Boot(life, grant) for life in testimony.lives]

    def findings(self, window: Span) -> Iterator[Finding]:
        """Steps 5 to 7, and of step 10 the first scan and the Close."""
        for boot in self._boots:
            for actor_sightings in boot.by_actor():
                yield from self._against(boot, actor_sightings, window)
        if self._boots and (dirty := self._boots[0].at_first):
            yield Finding(
                reason=Reason.NOT_CLEAN_AT_FIRST,
                host=self._host,
                gpu=dirty.gpu,
                detail=f"{_who(dirty)} was there before",
            )
        if not self._testimony.closed:
            yield Finding(reason=Reason.NOT_CLOSED, host=self._host, detail="the agent never closed its record")

    def coverages(self, window: Span) -> Iterator[Coverage]:
        """Coverage of each booked GPU, over all boots."""
        for gpu in self._gpus:
            covered = spans.union(span for boot in self._boots for span in boot.covered(gpu))
            yield Coverage.over(window, gpu, covered)

    def stopped(self, window: Span) -> int:
        """How many attempts the kernel refused in the window (step 8)."""
        return sum(
            found.times
            for boot in self._boots
            for found in boot.sightings
            if found.strength is Strength.STOPPED and boot.may_lie_in(found.at_ns, window)
        )

    def _against(self, boot: _Boot, seen: Sequence[Sighting], window: Span) -> Iterator[Finding]:
        """One actor on one GPU: convicted by two families, else unconfirmed."""
        told = [found for found in seen if found.strength is not Strength.STOPPED]
        possibly = [found for found in told if boot.may_lie_in(found.at_ns, window)]
        if not possibly:
            return
        surely = [found for found in told if boot.lies_in(found.at_ns, window)]
        reason = _conviction(surely) or Reason.FOREIGN_UNCONFIRMED
        first = (surely or possibly)[0]
        families = ", ".join(sorted({found.family for found in possibly}))
        yield Finding(
            reason=reason,
            host=self._host,
            gpu=first.gpu,
            at_ns=boot.earliest(first.at_ns),
            detail=f"{_who(first)}, seen by {families}",
        )


def _conviction(seen: Sequence[Sighting]) -> Reason | None:
    """Step 5: two families, at least one at OPEN or USE; nobody is convicted who cannot be placed."""
    if not seen or any(found.standing is Standing.UNRESOLVED or found.actor is None for found in seen):
        return None
    strongest = max(found.strength for found in seen)
    if len({found.family for found in seen}) < 2 or strongest < Strength.OPEN:
        return None
    if seen[0].entered:
        return Reason.BORROWED
    used = any(found.family is Family.DRIVER and found.strength is Strength.USE for found in seen)
    return Reason.USE if used else Reason.OPEN


def _who(found: Sighting) -> str:
    if found.actor is None:
        return "a foreign container"
    group = found.actor.cgroup if found.actor.cgroup is not None else "unknown"
    return f"process {found.actor.pid} (started at tick {found.actor.start}, control group {group})"


class _Boot:
    """One life of a host: what was seen in it, and when that was in UTC."""

    def __init__(self, life: Life, grant: Grant) -> None:
        self._observation = life.observation
        self._stretches = stretches(life.anchors, grant.limits.witness_gap_ns)
        self.sightings = life.observation.sightings
        self.at_first = life.observation.at_first

    def by_actor(self) -> Iterator[tuple[Sighting, ...]]:
        """The sightings of each actor on each GPU; those without an actor, each container for itself."""
        groups: dict[object, list[Sighting]] = {}
        for found in self.sightings:
            groups.setdefault(found.who, []).append(found)
        yield from map(tuple, groups.values())

    def covered(self, gpu: str) -> Spans:
        """The UTC in which this GPU was watched, in any case."""
        return coverage.in_utc(self._observation.watched(gpu), self._stretches)

    def earliest(self, boot_ns: int) -> int | None:
        """The earliest UTC that an instant can have been, as far as the witness has anchored it."""
        before = [stretch for stretch in self._stretches if stretch.span[0] <= boot_ns]
        return before[-1].earliest(min(boot_ns, before[-1].span[1])) if before else None

    def latest(self, boot_ns: int) -> int | None:
        """The latest UTC that it can have been."""
        after = [stretch for stretch in self._stretches if stretch.span[1] >= boot_ns]
        return after[0].latest(max(boot_ns, after[0].span[0])) if after else None

    def lies_in(self, boot_ns: int, window: Span) -> bool:
        """Whether the instant lies in the window whatever the clocks' error."""
        earliest, latest = self.earliest(boot_ns), self.latest(boot_ns)
        return earliest is not None and latest is not None and window[0] <= earliest and latest < window[1]

    def may_lie_in(self, boot_ns: int, window: Span) -> bool:
        """Whether the instant can lie in the window; one that nobody anchored can."""
        earliest, latest = self.earliest(boot_ns), self.latest(boot_ns)
        return (earliest is None or earliest < window[1]) and (latest is None or window[0] <= latest)
