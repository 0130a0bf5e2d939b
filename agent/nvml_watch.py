"""Keeps the reading process: asks it within a limit, kills it when it hangs, starts another, and says what is down.

A process that hangs in the driver may not even die of SIGKILL until the driver lets go (state D). Then no other is
started: they would only pile up. Restarts wait longer and longer, and nothing here waits beyond its limit. For one
thread.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Protocol

from agent.nvml_protocol import LINE_LIMIT_BYTES, Answer, NoDriver, Question, read_answer, write_line
from agent.wire import NotAReading

COMMAND = (sys.executable, "-I", "-m", "agent.nvml_process")
LIMIT_SECONDS = 5.0
START_SECONDS = 60.0  # without persistence mode the driver first wakes every GPU
DEATH_SECONDS = 1.0
LONGEST_PAUSE_NS = 60 * 10**9
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """Nothing is seen: why, since when (CLOCK_BOOTTIME), and what a person can do about it."""

    reason: str
    since_ns: int
    next_step: str


class Child(Protocol):
    """A reading process: what is used of subprocess.Popen."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    pid: int

    def poll(self) -> int | None:
        """Give its status, or None while it is there."""

    def kill(self) -> None:
        """Send SIGKILL."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is gone."""


class _Lost(Exception):
    """The process gave no answer."""


def boottime_ns() -> int:
    """The clock of all readings."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def starter(command: Sequence[str] = COMMAND, environ: Mapping[str, str] | None = None) -> Callable[[], Child]:
    """Give what starts a reading process, in a session of its own: a terminal's Ctrl-C is not for it."""
    return lambda: subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=None if environ is None else dict(environ),
        start_new_session=True,
    )


class NvmlWatch:
    """The reading process, whichever it is at the moment. Close it with `close`."""

    def __init__(
        self,
        start: Callable[[], Child] | None = None,
        *,
        limit_seconds: float = LIMIT_SECONDS,
        start_seconds: float = START_SECONDS,
        clock_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        self._start = start or starter()
        self._limit_seconds = limit_seconds
        self._start_seconds = start_seconds
        self._clock_ns = clock_ns
        self._process: Child | None = None
        self._answered = False
        self._killed: Child | None = None
        self._down: Down | None = None
        self._failures = 0
        self._not_before_ns = 0

    @property
    def pid(self) -> int | None:
        """The reading process's; None while there is none."""
        return None if self._process is None else self._process.pid

    def ask(self, question: Question) -> Answer | Down:
        """Ask within the limit; the first answer of a process may take as long as a start."""
        asked_at_ns = self._clock_ns()
        try:
            process = self._running(asked_at_ns)
            answer = self._exchange(process, question)
        except _Lost as lost:
            return self._say_down(str(lost), asked_at_ns, "see what the driver does: nvidia-smi, dmesg")
        if isinstance(answer, NoDriver):
            return self._say_down(answer.why, asked_at_ns, answer.next_step)
        self._down, self._failures = None, 0
        return answer

    def close(self) -> None:
        """End the process: by the end of its input, and by SIGKILL where that does not help."""
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            if not _ends(self._process, self._limit_seconds):
                self._process.kill()
            self._forget(self._process)
        if self._killed is not None:
            _ends(self._killed, self._limit_seconds)

    def _running(self, now_ns: int) -> Child:
        if self._process is not None:
            return self._process
        if self._killed is not None and self._killed.poll() is None:
            raise _Lost(f"the reading process {self._killed.pid} hangs in the driver and does not die")
        self._killed = None
        if now_ns < self._not_before_ns:
            raise _Lost(self._down.reason if self._down else "the reading process is started again in a moment")
        try:
            self._process, self._answered = self._start(), False
        except OSError as error:
            self._put_off()
            raise _Lost(f"the reading process cannot be started: {error}") from error
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        return self._process

    def _exchange(self, process: Child, question: Question) -> Answer | NoDriver:
        limit_seconds = self._limit_seconds if self._answered else self._start_seconds
        deadline = time.monotonic() + limit_seconds
        try:
            _send(process.stdin, write_line(question), deadline)
            answer = read_answer(_receive(process.stdout, deadline))
            if answer.number != question.number:
                raise NotAReading(f"expected the answer to question {question.number}, found {answer.number}")
        except TimeoutError as error:
            self._kill(process)
            raise _Lost(f"no answer about {question.source} within {limit_seconds:g} s") from error
        except (OSError, EOFError, NotAReading) as error:
            self._kill(process)
            raise _Lost(f"the reading process failed: {error}") from error
        self._answered = True
        return answer

    def _kill(self, process: Child) -> None:
        process.kill()
        self._forget(process)
        _ends(process, DEATH_SECONDS)
        self._put_off()

    def _forget(self, process: Child) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._process, self._killed = None, process

    def _put_off(self) -> None:
        """The first restart comes at once, the next after a second, then after twice as long each time."""
        pause_ns = 0 if self._failures == 0 else min(10**9 << (self._failures - 1), LONGEST_PAUSE_NS)
        self._not_before_ns = self._clock_ns() + pause_ns
        self._failures = min(self._failures + 1, 10)

    def _say_down(self, reason: str, asked_at_ns: int, next_step: str) -> Down:
        fresh = Down(reason=reason, since_ns=asked_at_ns, next_step=next_step)
        self._down = fresh if self._down is None else replace(fresh, since_ns=self._down.since_ns)
        return self._down


def _ends(process: Child, limit_seconds: float) -> bool:
    try:
        process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _send(pipe: IO[bytes] | None, line: bytes, deadline: float) -> None:
    descriptor, rest = _descriptor(pipe), memoryview(line)
    while rest:
        _wait_for(descriptor, select.POLLOUT, deadline)
        rest = rest[os.write(descriptor, rest) :]


def _receive(pipe: IO[bytes] | None, deadline: float) -> bytes:
    descriptor, line = _descriptor(pipe), bytearray()
    while not line.endswith(b"\n"):
        _wait_for(descriptor, select.POLLIN, deadline)
        chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            raise EOFError("it ended")
        line += chunk
        if len(line) > LINE_LIMIT_BYTES:
            raise NotAReading(f"expected a line of at most {LINE_LIMIT_BYTES} bytes, found more")
    return bytes(line)


def _descriptor(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise EOFError("it has no pipes")
    return pipe.fileno()


def _wait_for(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError
