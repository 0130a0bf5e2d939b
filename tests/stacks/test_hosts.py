from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from stacks.errors import WorkerFailed
from stacks.hosts import Hosts
from stacks.journal import Journal
from stacks.protocol import Job
from tests.fakes.hosts import FakeHosts
from tests.stacks.conftest import host_spec


def job(verb: str, role: str = "engine", **params: object) -> Job:
    return Job(verb=verb, host="lab-a1", connection=host_spec(1).connection, role=role, params=params)


def run(fakes: FakeHosts, journal: Path, *jobs: Job, secrets: tuple[str, ...] = ()) -> list[object]:
    """Run all jobs at once; failures are returned."""

    async def work() -> list[object]:
        hosts = Hosts(fakes.argv, Journal(journal))
        try:
            return list(await asyncio.gather(*(hosts.run(j, secrets) for j in jobs), return_exceptions=True))
        finally:
            await hosts.close()

    return asyncio.run(work())


def lines(journal: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_the_journal_tells_of_an_apply_step_by_step(hosts: FakeHosts, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    run(hosts, journal, job("apply"))
    assert [(line["event"], line.get("state")) for line in lines(journal)] == [
        ("start", None),
        ("step", "start"),
        ("step", "changed"),
        ("done", None),
    ]
    assert {(line["host"], line["role"], line["verb"]) for line in lines(journal)} == {("lab-a1", "engine", "apply")}


def test_an_observation_is_told_only_if_it_found_something(hosts: FakeHosts, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    run(hosts, journal, job("observe"))
    assert [(line["event"], line["changes"]) for line in lines(journal)] == [("drift", ["file engine.json: missing"])]
    run(hosts, tmp_path / "other.jsonl", job("apply"))
    run(hosts, tmp_path / "quiet.jsonl", job("observe"))
    assert lines(tmp_path / "quiet.jsonl") == []


def test_a_lost_host_ends_its_other_jobs_with_the_same_failure(hosts: FakeHosts, tmp_path: Path) -> None:
    hosts.set("lab-a1", "unreachable")
    roles = ("engine", "mesh", "image", "ray")
    failures = run(hosts, tmp_path / "journal.jsonl", *(job("apply", role) for role in roles))
    assert [getattr(failure, "kind", failure) for failure in failures] == ["unreachable"] * 4


def test_a_failure_says_whether_anything_was_begun(hosts: FakeHosts, tmp_path: Path) -> None:
    hosts.fail("lab-a1", "engine", kind="step", step="unit", cause="failed with s3cret", next="look at s3cret")
    (failure,) = run(hosts, tmp_path / "journal.jsonl", job("apply"), secrets=("s3cret",))
    assert isinstance(failure, WorkerFailed)
    assert failure.touched
    assert (failure.cause, failure.next_step) == ("failed with [secret]", "look at [secret]")
    assert "s3cret" not in (tmp_path / "journal.jsonl").read_text()


def test_what_is_owed_is_one_durable_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    journal = tmp_path / "journal.jsonl"
    failure = WorkerFailed(kind="unreachable", host="lab-a1", step="connect", cause="no route")
    Hosts(("worker",), Journal(journal)).quarantine("lab-a1", "engine", "demo", failure)
    (line,) = lines(journal)
    del line["time_ns"]
    assert line == {
        "event": "quarantined",
        "host": "lab-a1",
        "role": "engine",
        "booking": "demo",
        "owed": ["engine"],
        "kind": "unreachable",
        "cause": "no route",
    }
    assert len(synced) == 1
