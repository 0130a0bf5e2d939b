"""The control plane as a background process of this machine: is it there, start it, stop it.

Its lock file tells whether it lives (the kernel drops the lock with the process); the pid in it is only for signals.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from provision.booking.lock import holder
from provision.errors import MachineCannot

if TYPE_CHECKING:
    from pathlib import Path

    from provision.home import Home

START_SECONDS = 10.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
LOG_BYTES = 8 * 1024 * 1024
"""How large the log may be when a control plane starts; a larger one becomes `log.1`, and what that held is gone."""


def lock_path(home: Home) -> Path:
    """The file whose lock the running control plane holds."""
    return home.serve / "lock"


def log_path(home: Home) -> Path:
    """Where a control plane in the background writes what it does."""
    return home.serve / "log"


def serving(home: Home) -> bool:
    """Whether a control plane runs for this home."""
    return holder(lock_path(home)) is not None


def ensure_serving(home: Home) -> None:
    """Start the control plane in the background unless one runs; it ends by itself when nothing is left to keep.

    Raises:
        MachineCannot: it did not come up within START_SECONDS; its log says why.
    """
    if serving(home):
        return
    home.serve.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep_small(log_path(home), LOG_BYTES)
    with log_path(home).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "provision", "serve", "--until-idle"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + START_SECONDS
    while not serving(home):
        if child.poll() not in {None, 0, 6} or time.monotonic() > deadline:
            raise MachineCannot(
                f"timelock serve: expected it to run within {START_SECONDS:.0f} s, it did not",
                next_step=f"read {log_path(home)}; `timelock book --no-serve` does without it",
            )
        time.sleep(POLL_SECONDS)


def keep_small(log: Path, limit_bytes: int) -> None:
    """Put a log aside that has grown beyond `limit_bytes`, in the place of the one put aside before."""
    if log.exists() and log.stat().st_size > limit_bytes:
        log.replace(log.with_name(f"{log.name}.1"))


def stop_serving(home: Home) -> bool:
    """Ask the control plane to end and wait for it; False when none ran.

    Raises:
        MachineCannot: it did not end within STOP_SECONDS.
    """
    if not serving(home):
        return False
    os.kill(int(json.loads(lock_path(home).read_text())["pid"]), signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while serving(home):
        if time.monotonic() > deadline:
            raise MachineCannot(f"timelock serve: expected it to end within {STOP_SECONDS:.0f} s, it did not")
        time.sleep(POLL_SECONDS)
    return True
