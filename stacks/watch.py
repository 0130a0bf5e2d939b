"""From the engine's events to ours: what happens while an operation runs, and what came of it in the end.

Pure but for calling `on_event`. Counts only our resources, never the stack's own or the provider's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pulumi.automation.events import DiagnosticEvent, EngineEvent, StepEventMetadata

from stacks.outcome import CHANGING, Change, Drift, Event, Failure, Outcome, unmark
from stacks.roles import BY_NAME, of_urn, resource_name

STACK_TYPE = "pulumi:pulumi:Stack"
AMBIENT_PROVIDER = "using pulumi-resource-timelock from $PATH"
LOST_KINDS = ("unreachable", "host_key", "auth")

OnEvent = Callable[[Event], None]


class Watch:
    """Hears every event of one operation; one that `observes` looks at hosts and changes none."""

    def __init__(self, on_event: OnEvent, *, observes: bool) -> None:
        self._on_event = on_event
        self._observes = observes
        self._done: dict[str, str] = {}
        self._drift: dict[str, Drift] = {}
        self._failures: dict[str, Failure] = {}
        self._general: list[Failure] = []
        self._outputs: Mapping[str, object] = {}

    def hear(self, event: EngineEvent) -> None:
        """Take in one event of the engine."""
        if event.diagnostic_event is not None:
            self._diagnostic(event.diagnostic_event)
        if event.resource_pre_event is not None:
            self._step(event.resource_pre_event.metadata, "start")
        if event.res_outputs_event is not None:
            self._step(event.res_outputs_event.metadata, "done")
        if event.res_op_failed_event is not None:
            self._step(event.res_op_failed_event.metadata, "failed")

    def outcome(self, *, interrupted: bool, failed: bool = False) -> Outcome:
        """What came of it, once the last event was heard. Errors of no resource count only if the CLI `failed`."""
        drift = sorted(self._drift.values(), key=_place)
        lost = {found.host: found for found in map(_lost, reversed(drift)) if found} if self._observes else {}
        general = tuple(self._general) if failed else ()
        return Outcome(
            counts=dict(Counter(self._done.values())),
            changes=tuple(sorted(self._changes(), key=_place)),
            drift=tuple(drift),
            failures=(*sorted(self._failures.values(), key=_place), *lost.values()) or general,
            outputs=self._outputs,
            interrupted=interrupted,
        )

    def _changes(self) -> Iterator[Change]:
        for urn, operation in self._done.items():
            if operation in CHANGING:
                host, role = of_urn(urn)
                yield Change(resource=resource_name(host, role), host=host, role=role, operation=operation)

    def _diagnostic(self, diagnostic: DiagnosticEvent) -> None:
        urn, message = diagnostic.urn or "", diagnostic.message.strip()
        host, role = of_urn(urn)
        if diagnostic.severity == "debug" or message.startswith(AMBIENT_PROVIDER):
            return
        if diagnostic.severity == "error":
            self._fail(urn, message)
            if host:
                return  # its worker told already
        if diagnostic.ephemeral and host:
            state, _, text = message.partition(" ")
            self._on_event(Event(kind="step", host=host, role=role, text=text, state=state))
        elif message:
            self._on_event(Event(kind="note", host=host, role=role, text=message, state=diagnostic.severity))

    def _fail(self, urn: str, message: str) -> None:
        failure = unmark(urn, message)
        if not failure.host:
            self._general.append(failure)
        elif urn not in self._failures or self._failures[urn].kind == "engine":
            self._failures[urn] = failure

    def _step(self, step: StepEventMetadata, state: str) -> None:
        if step.type == STACK_TYPE and step.new is not None and step.new.outputs:
            self._outputs = dict(step.new.outputs)
        host, role = of_urn(step.urn)
        if not host:
            return
        operation = str(step.op.value)
        self._on_event(Event(kind="resource", host=host, role=role, text=operation, state=state))
        if state == "done":
            self._finished(step, host, role, operation)

    def _finished(self, step: StepEventMetadata, host: str, role: str, operation: str) -> None:
        changes = _drift_of(step.new.outputs if step.new is not None else None)
        if changes:
            name = resource_name(host, role)
            self._drift[step.urn] = Drift(resource=name, host=host, role=role, changes=changes)
        if self._observes:
            self._done[step.urn] = "drift" if changes else "same"
        elif operation != "refresh":
            self._done[step.urn] = operation


def _place(item: Change | Drift | Failure) -> tuple[str, int]:
    """Hosts by name, and each host's roles in their order."""
    return item.host, list(BY_NAME).index(item.role)


def _lost(drift: Drift) -> Failure | None:
    """A host that could not be observed is a failure of the observation too."""
    kind, _, rest = drift.changes[0].partition(": ")
    step, _, cause = rest.partition(": ")
    if kind not in LOST_KINDS:
        return None
    return Failure(resource=drift.resource, host=drift.host, role=drift.role, kind=kind, step=step, cause=cause)


def _drift_of(outputs: Mapping[str, Any] | None) -> tuple[str, ...]:
    drift = (outputs or {}).get("drift")
    return tuple(str(change) for change in drift) if isinstance(drift, list) else ()
