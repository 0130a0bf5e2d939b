"""A process of the lab that outlives the command which started it, and is found again.

It is known by its pid and the time it started, so that a pid which was given to somebody else is never taken for it,
let alone killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.errors import MachineCannot
from provision.lab.tool import require

# The process notes itself down before it becomes what was asked for: no kill -9 of the starter can orphan it.
_NOTE_THEN_BECOME = (
    'read -r line </proc/$$/stat && printf "%s\\n" "$line" >"$0.partial" && mv "$0.partial" "$0" && exec "$@"'
)
_STARTED_FIELD = 19  # of /proc/PID/stat, counted from the state, which follows the name in brackets
NOTE_SECONDS = 10.0
POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One detached process: where it notes its pid, where it writes what it says."""

    pid_file: Path
    log: Path

    def start(self, argv: Sequence[str | Path]) -> None:
        """Start it in a session of its own, unless it runs; raises MachineCannot."""
        if self.pid is not None:
            return
        require(str(argv[0]))
        try:
            self.pid_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.pid_file.unlink(missing_ok=True)
            with self.log.open("wb") as log:
                words = ["setsid", "--fork", "/bin/sh", "-c", _NOTE_THEN_BECOME, self.pid_file, *argv]
                subprocess.run(
                    words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True, timeout=NOTE_SECONDS
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise MachineCannot(
                f"{argv[0]}: expected it to start: {error}", next_step="check the path and that you are root"
            ) from error
        self._await_note()

    @property
    def pid(self) -> int | None:
        """The pid of the process if it is alive and ours."""
        try:
            noted = self.pid_file.read_text()
            pid = int(noted.split(" ", 1)[0])
            alive = Path(f"/proc/{pid}/stat").read_text()
            ours = _started(noted) == _started(alive) and _fields(alive)[0] != "Z"
        except (OSError, ValueError, IndexError):
            return None
        return pid if ours else None

    def stop(self, *, timeout_seconds: float = 5.0) -> None:
        """Ask it to end, after `timeout_seconds` make it; does nothing if it is gone already. Raises MachineCannot."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._ends_by(number, timeout_seconds):
                self.pid_file.unlink(missing_ok=True)
                return
        raise MachineCannot(
            f"process {self.pid} ({self.pid_file}): expected SIGKILL to end it, found it alive",
            next_step="look at it with `ps`; it most likely waits for a disk",
        )

    def last_words(self, lines: int = 5) -> str:
        """What it said last."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _await_note(self) -> None:
        deadline = time.monotonic() + NOTE_SECONDS
        while not self.pid_file.exists():
            if time.monotonic() > deadline:
                raise MachineCannot(
                    f"{self.pid_file}: expected a process to note its pid here", next_step=f"see {self.log}"
                )
            time.sleep(POLL_SECONDS)

    def _ends_by(self, number: signal.Signals, timeout_seconds: float) -> bool:
        """Send the signal to the process that was checked to be ours, and to no other that gets its pid meanwhile."""
        pid = self.pid
        if pid is None:
            return True
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            if self.pid == pid:
                signal.pidfd_send_signal(handle, number)
            return bool(select.select([handle], [], [], timeout_seconds)[0])
        except ProcessLookupError:
            return True
        finally:
            os.close(handle)


def _fields(stat: str) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    return stat.rpartition(")")[2].split()


def _started(stat: str) -> str:
    return _fields(stat)[_STARTED_FIELD]
