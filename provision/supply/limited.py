"""`subprocess` as Ansible's script plugin uses it, with the limit of time that the plugin lacks.

Stands in for that module's name there (reading.py), since a script that hangs would otherwise hang `timelock`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any, ClassVar

PIPE = subprocess.PIPE


class Popen(subprocess.Popen[bytes]):
    """A process in a session of its own, all of which is killed when it has not ended in time."""

    limit_seconds: ClassVar[float] = 60

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "start_new_session": True})

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Return what the process wrote; however this ends, the process has ended too.

        Raises:
            TimeoutError: it took longer than the limit.
        """
        try:
            return super().communicate(input, self.limit_seconds if timeout is None else timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"expected its end within {error.timeout:g} s, found it still running") from error
        finally:
            if self.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                self.wait()
            for pipe in (self.stdout, self.stderr):
                if pipe is not None:
                    pipe.close()
