"""The errors of `stacks`: one root, and one class for each thing a caller can act on.

Each message says what was expected, what was found and on which host; `next_step` says what to do. A resource that
failed is not an exception but a value: `stacks.engine.Failure`.
"""

from __future__ import annotations


class StackError(Exception):
    """Root of all errors that `stacks` raises on purpose; `kind` is one word a program can switch on."""

    kind = "stack"

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class SpecInvalid(StackError):
    """A spec, job or setting that cannot be read: names the field, what was expected and what was found."""

    kind = "invalid"


class PassphraseWrong(StackError):
    """The passphrase does not open the stack's secrets."""

    kind = "passphrase"


class StateCorrupt(StackError):
    """The stack's state file cannot be read."""

    kind = "state"


class StackLocked(StackError):
    """Another operation that still lives holds the stack's lock."""

    kind = "locked"


class EngineFailed(StackError):
    """The Pulumi CLI, or the process that drives it, could not do its work at all."""

    kind = "engine"


class WorkerFailed(StackError):
    """A worker could not do its job on one host.

    `kind` is one of unreachable, host_key, auth, step, timeout, disk_full, registry, digest, cancelled, invalid
    (said by the worker), or worker (it died, or did not keep to the protocol). `touched` is whether a step had begun.
    """

    def __init__(
        self, *, kind: str, host: str, step: str, cause: str, next_step: str = "", touched: bool = False
    ) -> None:
        super().__init__(f"{host}: {step}: {cause}", next_step=next_step)
        self.kind = kind
        self.host = host
        self.step = step
        self.cause = cause
        self.touched = touched
