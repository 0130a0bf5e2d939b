"""The client of the worker protocol: jobs out and events in, over the pipes of one child process.

It knows nothing of Pulumi and of what a job does. Jobs may be submitted concurrently; the worker server runs those
of one host one after another. Everything that waits has a limit, and secrets travel over stdin only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from stacks.errors import WorkerFailed
from stacks.protocol import (
    Connection,
    Done,
    Job,
    Step,
    encode_cancel,
    encode_job,
    parse_done,
    parse_failed,
    parse_reply,
    parse_step,
)

__all__ = ["Connection", "Done", "Job", "OnStep", "Step", "WorkerClient", "WorkerFailed"]

LINE_LIMIT_BYTES = 32 * 1024 * 1024
REPLY_GRACE_SECONDS = 30.0
CANCEL_SECONDS = 10.0
CLOSE_SECONDS = 5.0
JOBS_AT_ONCE = 256

OnStep = Callable[[Step], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """A job that was sent and not yet answered."""

    job: Job
    on_step: OnStep | None
    answer: asyncio.Future[Done]


class WorkerClient:
    """A running worker server. Start it with `await WorkerClient.start(argv)` and end it with `close`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("expected a worker process with all three pipes")
        self._process = process
        self._stdin = process.stdin
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._room = asyncio.Semaphore(JOBS_AT_ONCE)
        self._last_words: deque[str] = deque(maxlen=20)
        self._ended = ""
        self._listener = asyncio.create_task(self._read_last_words(process.stderr))
        self._reader = asyncio.create_task(self._read_replies(process.stdout))

    @classmethod
    async def start(cls, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> WorkerClient:
        """Start the worker server `argv` in a session of its own, so that a terminal's Ctrl-C does not reach it.

        Raises:
            WorkerFailed: the command cannot be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT_BYTES,
                start_new_session=True,
                env=None if environ is None else dict(environ),
            )
        except (OSError, ValueError, TypeError) as error:
            raise _broken("", f"{list(argv[:1])} cannot be started: {error}") from error
        return cls(process)

    async def __aenter__(self) -> Self:
        """Return self; leaving the block closes it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    @property
    def alive(self) -> bool:
        """Whether jobs can still be submitted."""
        return not self._ended

    @property
    def pid(self) -> int:
        """The worker server's process id, which is its process group's too."""
        return self._process.pid

    async def submit(self, job: Job, on_step: OnStep | None = None) -> Done:
        """Run `job` and return what came of it; `on_step` is called for each step as it happens.

        Cancelling the awaiting task cancels the job. The limit is the job's own plus a grace for the answer.

        Raises:
            WorkerFailed: the host, the step and the cause.
        """
        async with self._room:
            number, pending = self._register(job, on_step)
            try:
                await self._send(encode_job(number, job), job.host)
                return await asyncio.wait_for(pending.answer, job.timeout_seconds + REPLY_GRACE_SECONDS)
            except TimeoutError as error:
                await self._cancel(number, job.host)
                raise _late(job) from error
            except asyncio.CancelledError:
                await asyncio.shield(self._cancel(number, job.host))
                raise
            finally:
                self._pending.pop(number, None)

    async def cancel_all(self) -> None:
        """Ask the worker to cancel every job that runs; each then ends with WorkerFailed(kind='cancelled')."""
        for number, pending in list(self._pending.items()):
            await self._cancel(number, pending.job.host)

    async def close(self) -> None:
        """End the server and its children: end of input first, then SIGTERM, then SIGKILL to its process group."""
        self._stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), CLOSE_SECONDS)
                break
            self._signal_group(number)
        self._signal_group(signal.SIGKILL)  # its children may outlive it
        await asyncio.wait((self._reader, self._listener), timeout=CLOSE_SECONDS)
        self._reader.cancel()
        self._listener.cancel()
        await asyncio.gather(self._reader, self._listener, return_exceptions=True)
        self._end("it was closed")

    def _register(self, job: Job, on_step: OnStep | None) -> tuple[int, _Pending]:
        if self._ended:
            raise _broken(job.host, self._ended)
        answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        pending = _Pending(job=job, on_step=on_step, answer=answer)
        number = self._next_id()
        self._pending[number] = pending
        return number, pending

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _send(self, line: bytes, host: str) -> None:
        try:
            self._stdin.write(line)
            await asyncio.wait_for(self._stdin.drain(), REPLY_GRACE_SECONDS)
        except (OSError, RuntimeError) as error:  # TimeoutError is an OSError
            raise _broken(host, self._ended or f"it no longer reads: {error!r}") from error

    async def _cancel(self, number: int, host: str) -> None:
        with contextlib.suppress(WorkerFailed, TimeoutError):
            await asyncio.wait_for(self._send(encode_cancel(self._next_id(), number, host), host), CANCEL_SECONDS)

    async def _read_replies(self, stdout: asyncio.StreamReader) -> None:
        try:
            while line := await stdout.readline():
                self._receive(line)
        except ValueError as error:  # no JSON, another version, or a line above the limit
            self._end(f"it did not keep to the protocol: {error}")
            self._signal_group(signal.SIGKILL)
            while await stdout.read(LINE_LIMIT_BYTES):
                pass
            return
        status = await self._process.wait()
        await asyncio.wait((self._listener,), timeout=1)
        self._end("\n  ".join((f"it ended with status {status}", *self._last_words)))

    def _receive(self, line: bytes) -> None:
        reply = parse_reply(line)
        number = reply.get("id")
        pending = self._pending.get(number) if isinstance(number, int) else None
        if pending is None or pending.answer.done():
            return
        match reply.get("event"):
            case "step":
                if pending.on_step is not None:
                    pending.on_step(parse_step(reply, pending.job))
            case "done":
                pending.answer.set_result(parse_done(reply))
            case "failed":
                pending.answer.set_exception(parse_failed(reply, pending.job))
            case other:
                raise ValueError(f"expected event step, done or failed, found {other!r}")

    async def _read_last_words(self, stderr: asyncio.StreamReader) -> None:
        with contextlib.suppress(ValueError):
            while line := await stderr.readline():
                self._last_words.append(line.decode(errors="replace").rstrip()[:500])

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(_broken(pending.job.host, self._ended))

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _late(job: Job) -> WorkerFailed:
    return WorkerFailed(
        kind="timeout",
        host=job.host,
        step=job.role or job.verb,
        cause=f"expected an answer within {job.timeout_seconds} s, found none",
        next_step=f"check that {job.host} is up and not overloaded, then run the command again",
    )


def _broken(host: str, reason: str) -> WorkerFailed:
    return WorkerFailed(
        kind="worker",
        host=host,
        step="worker",
        cause=f"expected a running worker, but {reason}",
        next_step="run the command again: it goes on from where it stopped",
    )
