"""The errors of `agent`: one root, and one class for each thing a caller can act on.

Each message says what was expected, what was found and where; `next_step` says what to do.
A source that cannot see is not an exception but a value: `agent.readings.Unavailable`.
"""

from __future__ import annotations


class AgentError(Exception):
    """Root of all errors that `agent` raises on purpose."""

    exit_code = 8

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class InvalidSetting(AgentError):
    """What the caller asked for cannot be meant: a device range, a control group, a limit."""

    exit_code = 2


class GateUnavailable(AgentError):
    """This machine cannot carry the gate; the message says what is missing: root, BPF, a helper, a hierarchy."""


class GateBusy(AgentError):
    """Another process holds the pinned gate: its ring has room for one reader only."""

    exit_code = 6


class GateMismatch(AgentError):
    """A gate is pinned under the name already, but it is not the one that was asked for."""


class NvmlUnavailable(AgentError):
    """The driver's library cannot be loaded or does not start."""
