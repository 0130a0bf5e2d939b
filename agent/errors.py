"""The errors of `agent`: one root, and one class for each thing a caller can act on.

Each message says what was expected and what was found; `next_step` says what to do. A source that cannot see is not an
exception but a value: `agent.readings.Unavailable`.
"""

from __future__ import annotations


class AgentError(Exception):
    """Root of all errors that `agent` raises on purpose."""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class NvmlUnavailable(AgentError):
    """The driver's library cannot be loaded or does not start."""
