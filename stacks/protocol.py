"""The worker protocol, version 1: what a job, a step and an answer are, and how each stands on a JSON line.

Pure: bytes and values only. `stacks.worker` moves the lines; the server is told by the same words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from stacks.errors import WorkerFailed

PROTOCOL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach a host over SSH; `known_hosts_file` holds the only host keys that are accepted."""

    address: str
    port: int = 22
    user: str = "root"
    key_file: str
    known_hosts_file: str
    connect_timeout_seconds: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to do on one host. Verbs: apply, observe, remove, and run (params: command, stdin)."""

    verb: str
    host: str
    connection: Connection
    role: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    timeout_seconds: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a worker says while it works; `state` is start, changed, unchanged or would."""

    host: str
    role: str
    step: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a job; after observe, `changes` is what apply would do."""

    outputs: Mapping[str, object]
    changes: tuple[str, ...]


def encode_job(number: int, job: Job) -> bytes:
    """The line that asks for `job` under the id `number`."""
    return _line({"v": PROTOCOL, "id": number, **asdict(job)})


def encode_cancel(number: int, other: int, host: str) -> bytes:
    """The line that asks to cancel the job with the id `other`."""
    return _line({"v": PROTOCOL, "id": number, "verb": "cancel", "host": host, "params": {"id": other}})


def parse_reply(line: bytes) -> Mapping[str, object]:
    """Read one reply.

    Raises:
        ValueError: it is not JSON, or of another version.
    """
    reply = json.loads(line)
    found = reply.get("v") if isinstance(reply, dict) else type(reply).__name__
    if not isinstance(reply, dict) or found != PROTOCOL:
        raise ValueError(f"expected protocol version {PROTOCOL}, found {found!r}")
    return reply


def parse_step(reply: Mapping[str, object], job: Job) -> Step:
    """The step that a `step` reply tells of."""
    return Step(
        host=str(reply.get("host") or job.host),
        role=str(reply.get("role") or job.role),
        step=str(reply.get("step", "")),
        state=str(reply.get("state", "")),
    )


def parse_done(reply: Mapping[str, object]) -> Done:
    """What a `done` reply brought.

    Raises:
        ValueError: its outputs are no object, or its changes no list.
    """
    outputs, changes = reply.get("outputs") or {}, reply.get("changes") or []
    if not (isinstance(outputs, dict) and isinstance(changes, list)):
        raise ValueError("expected done with an object of outputs and a list of changes")
    return Done(outputs=outputs, changes=tuple(str(change) for change in changes))


def parse_failed(reply: Mapping[str, object], job: Job) -> WorkerFailed:
    """The error that a `failed` reply tells of."""
    return WorkerFailed(
        kind=str(reply.get("kind") or "step"),
        host=str(reply.get("host") or job.host),
        step=str(reply.get("step") or job.role or job.verb),
        cause=str(reply.get("cause") or "the worker gave no cause"),
        next_step=str(reply.get("next") or ""),
    )


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
