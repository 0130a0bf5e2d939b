"""A verdict in words and as JSON. A view: nothing here decides anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from proofs.bundle import Evidence
from proofs.coverage import Coverage
from proofs.statement import Grant
from proofs.verdict import Finding, Outcome, Verdict

LEVELS = {
    "L0": "a host owner with root could have falsified these reports",
}
WITNESSING = "W0: the control plane is trusted for time and history"


def lines(evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    """The verdict for a person, one line after another."""
    grant = evidence.grant
    yield f"{verdict.outcome}  booking {grant.booking}  {_instant(grant.start_ns)} to {_instant(grant.end_ns)}"
    if verdict.simulated:
        yield "LAB: simulated GPU"
    yield sentence(grant, verdict)
    for found in verdict.coverages:
        yield f"  {found.gpu}  coverage {_percent(found)}  longest gap {_seconds(found.longest_gap_ns)}"
    for finding in verdict.findings:
        yield f"  {_finding(finding)}"
    if verdict.attempts_stopped:
        yield f"  attempts stopped: {verdict.attempts_stopped}"
    yield f"  level {verdict.level}: {LEVELS[verdict.level]}"
    yield f"  {WITNESSING}"
    if not evidence.customer_pinned:
        yield "  the trust root names no customer: the grant's customer key is taken at its word"


def sentence(grant: Grant, verdict: Verdict) -> str:
    """What is claimed, no more and no less: a part of the format."""
    coverage = min(verdict.coverages, key=lambda found: found.parts_per_million)
    gap = max(found.longest_gap_ns for found in verdict.coverages)
    what = {
        Outcome.PROVEN: "no process outside the booked container was reported on",
        Outcome.VIOLATED: "a process outside the booked container was reported, by two families of observation, on",
        Outcome.UNPROVEN: "it is not proven that nobody outside the booked container used",
    }[verdict.outcome]
    return (
        f"Between {_instant(grant.start_ns)} and {_instant(grant.end_ns)} {what} the booked GPUs "
        f"(coverage {_percent(coverage)}, longest gap {_seconds(gap)}). "
        f"Level {verdict.level}: {LEVELS[verdict.level]}."
    )


def document(evidence: Evidence, verdict: Verdict) -> dict[str, object]:
    """The verdict for a program; fields are added, never renamed, within a version."""
    grant = evidence.grant
    return {
        "v": 1,
        "outcome": verdict.outcome.value,
        "booking": grant.booking,
        "start_ns": grant.start_ns,
        "end_ns": grant.end_ns,
        "level": verdict.level,
        "witnessing": "W0",
        "simulated": verdict.simulated,
        "customer_pinned": evidence.customer_pinned,
        "keys_version": evidence.keys_version,
        "attempts_stopped": verdict.attempts_stopped,
        "sentence": sentence(grant, verdict),
        "gpus": [
            {
                "gpu": found.gpu,
                "coverage_ppm": found.parts_per_million,
                "covered_ns": found.covered_ns,
                "window_ns": found.window_ns,
                "longest_gap_ns": found.longest_gap_ns,
            }
            for found in verdict.coverages
        ],
        "findings": [
            {
                "reason": finding.reason.value,
                "host": finding.host,
                "gpu": finding.gpu,
                "at_ns": finding.at_ns,
                "detail": finding.detail,
            }
            for finding in verdict.findings
        ],
    }


def plain(text: str) -> str:
    """Text from evidence as a terminal may have it: what is not printable becomes a question mark."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _finding(finding: Finding) -> str:
    when = f" at {_instant(finding.at_ns)}" if finding.at_ns is not None else ""
    return f"{finding.reason}  {finding.host} {finding.gpu}{when}: {finding.detail}"


def _percent(found: Coverage) -> str:
    """Per cent with four digits, truncated."""
    parts = found.parts_per_million
    return f"{parts // 10_000}.{parts % 10_000:04} %"


def _seconds(duration_ns: int) -> str:
    """Seconds with three digits, rounded up: a gap is never told shorter than it is."""
    milliseconds = -(-duration_ns // 10**6)
    return f"{milliseconds // 1000}.{milliseconds % 1000:03} s"


def _instant(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
