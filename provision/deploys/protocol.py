"""The worker protocol, version 1: one JSON object a line, jobs in, replies out.

The other end is `stacks/worker.py`, which shares no code with this: what crosses a process is parsed at the door.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from provision.deploys.errors import StepFailed

VERSION = 1


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Connection(_Message):
    """How a host is reached; its key must be in the known_hosts file."""

    address: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: str = "root"
    key_file: str
    known_hosts_file: str
    connect_timeout_seconds: Annotated[float, Field(gt=0)] = 10.0


class Job(_Message):
    """Something to do on one host."""

    v: Literal[1] = 1
    id: int
    verb: Literal["apply", "observe", "remove", "run"]
    host: Annotated[str, Field(min_length=1)]
    connection: Connection
    role: str = ""
    params: dict[str, object] = Field(default_factory=dict, repr=False)
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0


class Cancel(_Message):
    """Stop the job `params.id`: at once when it waits, after its current step was told to end when it runs."""

    v: Literal[1] = 1
    id: int
    verb: Literal["cancel"]
    host: str = ""
    params: dict[Literal["id"], int]


class RunParams(_Message):
    """Parameters of the verb 'run'."""

    command: str
    stdin: str = Field(default="", repr=False)


Request = Annotated[Job | Cancel, Field(discriminator="verb")]
_REQUESTS: TypeAdapter[Job | Cancel] = TypeAdapter(Request)


def parse(line: bytes) -> Job | Cancel:
    """Return the request in `line`. Raises StepFailed of kind 'invalid' that lists every problem."""
    try:
        return _REQUESTS.validate_json(line)
    except ValidationError as problems:
        lines = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems.errors(include_input=False)]
        raise StepFailed("", "; ".join(lines), kind="invalid", next_step="report it: a fault of Timelock") from None


def parse_run(params: Mapping[str, object]) -> RunParams:
    """Return the parameters of a 'run'. Raises StepFailed of kind 'invalid'."""
    try:
        return RunParams.model_validate(params)
    except ValidationError as problems:
        raise StepFailed("", str(problems), kind="invalid") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Makes the lines that answer one job."""

    job: int
    host: str
    role: str

    def step(self, step: str, state: str) -> bytes:
        """A step starts, changed something, found nothing to do, or would change something."""
        return self._line("step", role=self.role, step=step, state=state)

    def done(self, outputs: Mapping[str, object], changes: tuple[str, ...]) -> bytes:
        """The job went well."""
        return self._line("done", role=self.role, outputs=outputs, changes=changes)

    def failed(self, failure: StepFailed) -> bytes:
        """The job failed; what was done before stays done."""
        return self._line("failed", kind=failure.kind, step=failure.step, cause=failure.cause, next=failure.next_step)

    def _line(self, event: str, **fields: object) -> bytes:
        message = {"v": VERSION, "id": self.job, "event": event, "host": self.host, **fields}
        return json.dumps(message, separators=(",", ":")).encode() + b"\n"
