from __future__ import annotations

from typing import Any

import pytest
from pulumi.automation.events import EngineEvent

from stacks.errors import WorkerFailed
from stacks.outcome import Event, mark
from stacks.watch import Watch

STACK_URN = "urn:pulumi:demo::timelock::pulumi:pulumi:Stack::timelock-demo"


def urn(name: str) -> str:
    return f"urn:pulumi:demo::timelock::timelock:host:{name.rpartition('.')[2].capitalize()}::{name}"


def step(kind: str, name: str, operation: str, **outputs: object) -> EngineEvent:
    state = {"type": "t", "urn": urn(name), "id": name, "parent": "", "provider": "", "inputs": {}, "outputs": outputs}
    metadata = {"op": operation, "urn": urn(name), "type": "t", "provider": "", "new": state}
    return event(kind, {"metadata": metadata})


def diagnostic(severity: str, message: str, name: str = "", *, ephemeral: bool = False) -> EngineEvent:
    place = {"urn": urn(name)} if name else {}
    return event(
        "diagnosticEvent", {"severity": severity, "message": message, "color": "", "ephemeral": ephemeral, **place}
    )


def event(kind: str, body: dict[str, Any]) -> EngineEvent:
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, kind: body})


def watch(*events: EngineEvent, observes: bool = False) -> tuple[Watch, list[Event]]:
    heard: list[Event] = []
    found = Watch(heard.append, observes=observes)
    for one in events:
        found.hear(one)
    return found, heard


def test_operations_are_counted_once_and_told_twice() -> None:
    found, heard = watch(
        step("resourcePreEvent", "a1.ray", "create"),
        step("resOutputsEvent", "a1.ray", "create"),
        step("resOutputsEvent", "a1.mesh", "same"),
    )
    outcome = found.outcome(interrupted=False)
    assert outcome.counts == {"create": 1, "same": 1}
    assert [(c.resource, c.operation) for c in outcome.changes] == [("a1.ray", "create")]
    assert [(e.text, e.state) for e in heard] == [("create", "start"), ("create", "done"), ("same", "done")]


def test_a_refresh_before_an_update_is_drift_and_no_change() -> None:
    found, _ = watch(
        step("resOutputsEvent", "a2.ray", "refresh", drift=["gone"]),
        step("resOutputsEvent", "a1.mesh", "refresh", drift=["odd"]),
        step("resOutputsEvent", "a1.mesh", "update", drift=[]),
    )
    outcome = found.outcome(interrupted=False)
    assert outcome.counts == {"update": 1}
    assert [(d.resource, d.changes) for d in outcome.drift] == [("a1.mesh", ("odd",)), ("a2.ray", ("gone",))]
    assert outcome.failures == ()


def test_while_observing_a_lost_host_is_one_failure() -> None:
    found, _ = watch(
        *(
            step("resOutputsEvent", f"a1.{r}", "update", drift=["unreachable: connect: no route"])
            for r in ("ray", "mesh")
        ),
        step("resOutputsEvent", "a2.ray", "same", drift=[]),
        observes=True,
    )
    outcome = found.outcome(interrupted=False)
    assert outcome.counts == {"drift": 2, "same": 1}
    assert outcome.changes == ()
    assert [(f.resource, f.kind, f.step, f.cause) for f in outcome.failures] == [
        ("a1.mesh", "unreachable", "connect", "no route")
    ]


def test_a_workers_failure_hides_what_the_engine_adds() -> None:
    failure = WorkerFailed(kind="disk_full", host="a1", step="data-root", cause="full", next_step="free some")
    found, _ = watch(
        diagnostic("error", "update failed"),
        diagnostic("error", mark(failure), "a1.engine"),
        diagnostic("error", "1 error occurred", "a1.engine"),
    )
    (only,) = found.outcome(interrupted=False).failures
    assert (only.resource, only.kind, only.next_step) == ("a1.engine", "disk_full", "free some")


def test_what_concerns_no_resource_is_told_if_there_is_nothing_better() -> None:
    found, _ = watch(diagnostic("error", "no plugin"))
    outcome = found.outcome(interrupted=False, failed=True)
    assert [(f.kind, f.cause) for f in outcome.failures] == [("engine", "no plugin")]
    assert found.outcome(interrupted=False).failures == ()  # the CLI succeeded all the same


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (diagnostic("info", "changed file /etc/x y", "a1.mesh", ephemeral=True), ("step", "file /etc/x y", "changed")),
        (diagnostic("warning", "odd"), ("note", "odd", "warning")),
        (diagnostic("debug", "beginning rpc"), None),
        (diagnostic("warning", "using pulumi-resource-timelock from $PATH at x"), None),
    ],
)
def test_what_is_told_live(given: EngineEvent, told: tuple[str, str, str] | None) -> None:
    _, heard = watch(given)
    assert [(e.kind, e.text, e.state) for e in heard] == ([told] if told else [])


def test_outputs_are_those_of_the_stack() -> None:
    state = {
        "type": "pulumi:pulumi:Stack",
        "urn": STACK_URN,
        "id": "",
        "parent": "",
        "provider": "",
        "outputs": {"x": 1},
    }
    metadata = {"op": "update", "urn": STACK_URN, "type": "pulumi:pulumi:Stack", "provider": "", "new": state}
    found, heard = watch(event("resOutputsEvent", {"metadata": metadata}))
    assert found.outcome(interrupted=False).outputs == {"x": 1}
    assert heard == []
