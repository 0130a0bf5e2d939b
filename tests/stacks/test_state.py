from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from stacks.errors import StateCorrupt
from stacks.state import NOT_FINISHED, adopt, has_pending, read_locks

URN = "urn:pulumi:demo::timelock::timelock:host:Engine::lab-a1.engine"


def operation(kind: str, urn: str = URN) -> dict[str, Any]:
    resource = {"urn": urn, "custom": True, "type": "timelock:host:Engine", "inputs": {"host": "lab-a1"}}
    return {"resource": resource, "type": kind}


def test_a_create_that_was_cut_off_becomes_a_resource_that_is_not_finished() -> None:
    before = {"resources": [{"urn": "other"}], "pending_operations": [operation("creating")]}
    adopted = adopt(before)
    assert "pending_operations" not in adopted
    assert adopted["resources"][1]["id"] == "lab-a1.engine"
    assert adopted["resources"][1]["outputs"] == {"host": "lab-a1", "drift": [NOT_FINISHED]}
    assert len(before["resources"]) == 1  # the argument is left alone


@pytest.mark.parametrize("kind", ["updating", "deleting", "reading"])
def test_what_is_in_the_state_already_is_not_added(kind: str) -> None:
    adopted = adopt({"resources": [{"urn": URN}], "pending_operations": [operation(kind), operation("creating")]})
    assert adopted == {"resources": [{"urn": URN}]}


def test_pending_operations_are_seen(tmp_path: Path) -> None:
    state = tmp_path / "demo.json"
    assert not has_pending(state)
    for pending in ([], [operation("creating")]):
        state.write_text(json.dumps({"checkpoint": {"latest": {"resources": [], "pending_operations": pending}}}))
        assert has_pending(state) == bool(pending)
    state.write_text(json.dumps({"checkpoint": {"latest": None}}))
    assert not has_pending(state)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"checkpoint": 1}', '{"checkpoint": {"latest": {"resources": 1}}}']
)
def test_what_is_no_state_is_refused(tmp_path: Path, content: str) -> None:
    state = tmp_path / "demo.json"
    state.write_text(content)
    with pytest.raises(StateCorrupt, match=r"demo\.json"):
        has_pending(state)


def lock(directory: Path, **content: object) -> None:
    directory.mkdir(exist_ok=True)
    (directory / f"{content['pid']}.json").write_text(json.dumps({"username": "u", "timestamp": "t", **content}))


def test_only_a_pulumi_of_this_machine_can_be_seen_to_be_dead(tmp_path: Path) -> None:
    lock(tmp_path, pid=os.getpid(), hostname=socket.gethostname())  # alive, but no pulumi: the pid was used again
    assert [found.alive for found in read_locks(tmp_path)] == [False]
    lock(tmp_path, pid=1 << 22, hostname="elsewhere.test")
    assert sorted(found.alive for found in read_locks(tmp_path)) == [False, True]


def test_a_lock_that_was_cut_off_is_a_dead_owners(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("")
    assert [found.alive for found in read_locks(tmp_path)] == [False]
    assert read_locks(None) == read_locks(tmp_path / "none") == ()
