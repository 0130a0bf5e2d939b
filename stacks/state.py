"""The state of a stack as the backend holds it: is it whole, who holds its lock, and what did a crash leave undone.

Reads files of a file:// backend (other backends answer for themselves) and repairs nothing: `stacks.recovery` does.
"""

from __future__ import annotations

import copy
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.errors import StateCorrupt

NOT_FINISHED = "not finished: it was cut off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One lock on the stack, and who made it."""

    path: Path
    pid: int
    host: str
    since: str

    @property
    def is_here(self) -> bool:
        """Whether its owner is a process of this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether its owner still runs; on another machine that cannot be seen, and counts as yes."""
        if not self.is_here:
            return True
        try:
            return "pulumi" in Path(f"/proc/{self.pid}/comm").read_text()
        except OSError:
            return False


def read_locks(directory: Path | None) -> tuple[Lock, ...]:
    """All locks on the stack; one that is cut off counts as its dead owner's."""
    if directory is None or not directory.is_dir():
        return ()
    return tuple(_lock(path) for path in sorted(directory.glob("*.json")))


def has_pending(state_file: Path | None) -> bool:
    """Whether a crash left operations undone.

    Raises:
        StateCorrupt: the file is no state.
    """
    if state_file is None or not state_file.exists():
        return False
    return bool(_deployment(state_file).get("pending_operations"))


def adopt(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The exported deployment with every create that was cut off entered as a resource that is not finished.

    Our ids are the resources' names, so that what a create left on its host is found again: the next update finishes
    it, and a destroy removes it. Operations of other kinds are forgotten: their resources are in the state.
    """
    adopted = copy.deepcopy(dict(deployment))
    pending = adopted.pop("pending_operations", None) or []
    known = {resource["urn"] for resource in adopted.get("resources", [])}
    for operation in pending:
        resource = operation["resource"]
        if operation["type"] == "creating" and resource.get("custom") and resource["urn"] not in known:
            known.add(resource["urn"])
            outputs = {**resource.get("inputs", {}), "drift": [NOT_FINISHED]}
            entry = {**resource, "id": resource["urn"].rpartition("::")[2], "outputs": outputs}
            adopted["resources"].append(entry)
    return adopted


def _lock(path: Path) -> Lock:
    try:
        content = json.loads(path.read_text())
        return Lock(path=path, pid=int(content["pid"]), host=str(content["hostname"]), since=str(content["timestamp"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Lock(path=path, pid=0, host=socket.gethostname(), since="")


def _deployment(state_file: Path) -> Mapping[str, Any]:
    try:
        checkpoint = json.loads(state_file.read_bytes())["checkpoint"]
        latest = checkpoint.get("latest") or {}
        if isinstance(latest, dict) and isinstance(latest.get("resources", []), list):
            return latest
        raise TypeError(f"latest is {type(latest).__name__}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(state_file, str(error)) from error


def corrupt(state_file: Path | None, cause: str) -> StateCorrupt:
    """The error for a state that cannot be used."""
    place = state_file or "the stack's state"
    return StateCorrupt(
        f"{place}: expected the state of a stack, found: {cause}",
        next_step=f"put {place}.bak (the state one step earlier) in its place, then resume the booking",
    )
