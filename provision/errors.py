"""The errors of `provision`: one root, one class an exit code (DESIGN §12).

Each message says what was expected, what was found and where; `next_step` says what to do. The CLI's edge turns
an error into one message and its exit code; nothing below it exits or prints.
"""

from __future__ import annotations


class TimelockError(Exception):
    """Root of all errors that `provision` raises on purpose."""

    exit_code = 8

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class InvalidInput(TimelockError):
    """A request, inventory or file that cannot be accepted; carries every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: tuple[str, ...], *, next_step: str = "") -> None:
        super().__init__("\n".join(problems), next_step=next_step)
        self.problems = problems


class NoCapacity(TimelockError):
    """Nothing in the supply fits the request (or what fitted was claimed by somebody else first)."""

    exit_code = 4


class HostFailed(TimelockError):
    """One host could not do its part: names the host, the step and the cause."""

    exit_code = 5

    def __init__(self, *, host: str, step: str, cause: str, kind: str = "step", next_step: str = "") -> None:
        super().__init__(f"{host}: {step}: {cause}", next_step=next_step)
        self.host = host
        self.step = step
        self.cause = cause
        self.kind = kind


class Locked(TimelockError):
    """Another operation holds the booking or the lab."""

    exit_code = 6


class MachineCannot(TimelockError):
    """This machine lacks what the command needs: root, disk space, a registry, an intact state."""

    exit_code = 8


class Interrupted(TimelockError):
    """Stopped on request; the state is kept."""

    exit_code = 130
