"""One operation at a time on a booking: an advisory lock that the kernel drops when its holder dies.

The file says who holds it, for the message to whoever comes second; it is not what is trusted.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from provision.errors import Locked

ATTEMPTS = 5
PAUSE_SECONDS = 0.02


@contextmanager
def held(path: Path, *, operation: str) -> Iterator[int]:
    """Hold the lock at `path` while the block runs; yields its descriptor, for children that must hold it too.

    Raises:
        Locked: another process holds it; the message says which, at what, and since when.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, path)
        owner = {"pid": os.getpid(), "operation": operation, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """Who holds the lock at `path`, in words; None when it is free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(path)
    else:
        return None
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    """Take the lock; somebody who only looks (`holder`) has it for microseconds, hence more than one attempt."""
    for _ in range(ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE_SECONDS)
        else:
            return
    raise Locked(
        f"{path.parent.name}: held by {_owner(path)}",
        next_step="wait for it to end, or watch it with `timelock status`",
    )


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        return f"`{owner['operation']}` (pid {owner['pid']}) since {owner['since']}"
    except (OSError, ValueError, KeyError):
        return "another operation (it has not said which yet)"
