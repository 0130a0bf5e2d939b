"""Waiting in tests: on a condition, within a limit, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.02


def until(condition: Callable[[], object], what: str, limit_seconds: float = LIMIT_SECONDS) -> None:
    limit = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < limit, f"expected within {limit_seconds} s: {what}"
        time.sleep(POLL_SECONDS)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent(pid: int) -> int:
    """The parent of a process; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, queue = [], list(children.get(pid, []))
    while queue:
        child = queue.pop(0)
        found.append(child)
        queue.extend(children.get(child, []))
    return found
