"""One operation on a lab at a time; whoever comes second is told at once who is at work, and since when."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from provision.errors import Locked


@contextlib.contextmanager
def lab_lock(lab: Path, operation: str) -> Iterator[None]:
    """Hold the lab in directory `lab`; raises Locked. The lock lies beside the directory, which comes and goes."""
    lab.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lab.with_name(f".{lab.name}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another operation"
            raise Locked(f"lab {lab.name}: held by {holder}", next_step="wait for its end, then try again") from error
        file.truncate(0)
        now = datetime.datetime.now(datetime.UTC)
        file.write(f"`{operation}`, process {os.getpid()}, since {now:%Y-%m-%dT%H:%M:%SZ}\n")
        file.flush()
        yield
