"""The one failure of a deploy: which step, of which kind, why, and what to do.

The kinds are those of the worker protocol; the host's name is added by whoever speaks for the host.
"""

from __future__ import annotations

from typing import Literal

from provision.errors import TimelockError

Kind = Literal[
    "unreachable", "host_key", "auth", "step", "timeout", "disk_full", "registry", "digest", "cancelled", "invalid"
]


class StepFailed(TimelockError):
    """A step that could not be done, or that must not be done as asked."""

    exit_code = 5

    def __init__(self, step: str, cause: str, *, kind: Kind = "step", next_step: str = "") -> None:
        super().__init__(f"{step}: {cause}" if step else cause, next_step=next_step)
        self.step = step
        self.cause = cause
        self.kind: Kind = kind
