"""One at a time for what several commands of this machine share: an image that is built, a store that is written to."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from provision.errors import Locked

LOCK_SECONDS = 1800.0
POLL_SECONDS = 0.05


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel releases with the process, however it ends; raises Locked after a long wait."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("w") as lock:
        while not _taken(lock):
            if time.monotonic() > deadline:
                raise Locked(
                    f"{path}: expected it free within {LOCK_SECONDS:.0f} s, found it held",
                    next_step=f"see who holds it with `fuser -v {path}`",
                )
            time.sleep(POLL_SECONDS)
        yield


def _taken(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
