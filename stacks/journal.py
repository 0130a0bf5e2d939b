"""The journal of a booking: one JSON line for each thing that a worker or the provider did, in the order it happened.

Append-only and shared by processes: each line is one write. It holds no secrets; whoever writes has removed them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path


class Journal:
    """Appends lines to `path`; with no path, it forgets them."""

    def __init__(self, path: Path | None, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._file = _open(path) if path is not None else None

    def append(self, event: str, fields: Mapping[str, object], *, durable: bool = False) -> None:
        """Write one line; a durable one is on the disk when this returns."""
        if self._file is None:
            return
        line = json.dumps({"time_ns": self._clock_ns(), "event": event, **fields}, ensure_ascii=False)
        os.write(self._file, line.encode() + b"\n")
        if durable:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file; later lines are forgotten."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: Path) -> int:
    """Open for appending; a line that a crash cut off is ended first, so that it spoils no other."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
    return file
