"""What came of an operation on a stack: values that cross processes as JSON, and say all a caller needs to act on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stacks.errors import WorkerFailed
from stacks.roles import of_urn, resource_name

CHANGING = ("create", "update", "replace", "delete")
_MARK = re.compile(r"\[timelock (\{.*\})\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One resource that could not be dealt with; `kind` is a worker's, or `engine`."""

    resource: str
    host: str
    role: str
    kind: str
    step: str
    cause: str
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One resource that was (or would be) created, updated, replaced or deleted."""

    resource: str
    host: str
    role: str
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One resource whose host differs from what was applied, and what an update would do about it."""

    resource: str
    host: str
    role: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of an operation. It succeeded if there are no failures and it was not interrupted."""

    counts: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    drift: tuple[Drift, ...] = ()
    failures: tuple[Failure, ...] = ()
    outputs: Mapping[str, object] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def changed(self) -> int:
        """How many resources were changed; after `drift`, how many differ."""
        return len(self.changes) or len(self.drift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happens while an operation runs.

    `kind` is step (a worker's, with its `state`), resource (`text` is the operation, `state` start, done or failed) or
    note (`text` is for people, `state` its severity).
    """

    kind: str
    host: str
    role: str
    text: str
    state: str


def mark(failure: WorkerFailed) -> str:
    """The failure as text for people, with a last line that `unmark` reads back."""
    fields = {"kind": failure.kind, "step": failure.step, "cause": failure.cause, "next_step": failure.next_step}
    text = f"{failure.message}\n{failure.next_step}".strip()
    return f"{text}\n[timelock {json.dumps(fields)}]"


def unmark(urn: str, message: str) -> Failure:
    """The failure that a message about a resource tells of; one that nobody marked is the engine's."""
    host, role = of_urn(urn)
    place = {"resource": resource_name(host, role) if host else "", "host": host, "role": role}
    found = _MARK.search(message)
    if found is None:
        return Failure(**place, kind="engine", step=role or "engine", cause=message.strip())
    return Failure(**place, **json.loads(found.group(1)))
