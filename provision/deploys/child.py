"""The process of one host: takes jobs from a pipe, does them one after the other over one SSH session, and answers.

Runs under gevent, forked from `worker.py`. It ends when the pipe ends: a worker that died takes its children along.
Neighbouring observations are made in one go.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

import gevent
import gevent.event
import gevent.os
import gevent.queue

from provision.deploys import reconcile, sweep
from provision.deploys.errors import StepFailed
from provision.deploys.hands import SshHands
from provision.deploys.protocol import Cancel, Connection, Job, Reply, RunParams, parse, parse_run
from provision.deploys.reconcile import Hands, OnStep, Outcome, StepState
from provision.deploys.role import Role
from provision.deploys.role import parse as parse_role

Send = Callable[[bytes], None]


class Stopped(BaseException):
    """Thrown into a job from outside; not an Exception, so that nothing on its way takes it for a fault to handle."""

    def __init__(self, failure: StepFailed) -> None:
        super().__init__(failure.cause)
        self.failure = failure


class JobHands(Hands, Protocol):
    """What jobs need of a host."""

    def begin(self) -> None:
        """Be ready for a job. Raises StepFailed when the host cannot be reached."""

    def run(self, params: RunParams, timeout_seconds: float) -> dict[str, object]:
        """Run any command."""

    def interrupt(self) -> None:
        """End what is under way on the host."""


class Child:
    """Jobs of one host, in order."""

    def __init__(self, hands: JobHands, send: Send) -> None:
        self._hands = hands
        self._send = send
        self._waiting = deque[Job]()
        self._arrived = gevent.event.Event()
        self._unanswered: list[Job] = []
        self._running: gevent.Greenlet[..., None] | None = None
        self._step = ""

    def serve(self, lines: Iterator[bytes]) -> None:
        """Take requests until they end; what is running then is dropped, without an answer."""
        gevent.spawn(self._work)
        for line in lines:
            request = parse(line)
            if isinstance(request, Cancel):
                self._cancel(request.params["id"])
            else:
                self._waiting.append(request)
                self._arrived.set()
        self._hands.interrupt()

    def _work(self) -> None:
        while self._arrived.wait():
            while self._waiting:
                self._unanswered = self._next()
                self._running = gevent.spawn(self._do, tuple(self._unanswered))
                self._running.join()
                if self._running.exception is not None:
                    os._exit(70)  # a fault of ours, on stderr by now; the parent answers what is unanswered
            self._arrived.clear()

    def _next(self) -> list[Job]:
        """Take the next job, and with an observation all observations that follow it directly."""
        jobs = [self._waiting.popleft()]
        while jobs[0].verb == "observe" and self._waiting and self._waiting[0].verb == "observe":
            jobs.append(self._waiting.popleft())
        return jobs

    def _cancel(self, job_id: int) -> None:
        cancelled = StepFailed("", "cancelled on request", kind="cancelled", next_step="resume goes on from here")
        for job in [job for job in self._waiting if job.id == job_id]:
            self._waiting.remove(job)
            self._answer(job, cancelled)
        if self._running is not None and any(job.id == job_id for job in self._unanswered):
            self._running.kill(Stopped(cancelled), block=False)

    def _do(self, jobs: Sequence[Job]) -> None:
        """Do one job, or several observations; each gets its answer, whatever happens."""
        self._step = ""
        limit = min(job.timeout_seconds for job in jobs)
        late = StepFailed("", f"the job did not end within {limit:g} s", kind="timeout")
        try:
            with gevent.Timeout(limit, Stopped(late)):
                if jobs[0].verb == "observe":
                    self._observe(jobs)
                else:
                    self._answer(jobs[0], self._change(jobs[0]))
        except Stopped as stopped:
            stopped.failure.step = self._step
            self._fail(stopped.failure)
            self._hands.interrupt()
        except StepFailed as failure:
            self._fail(failure)

    def _fail(self, failure: StepFailed) -> None:
        for job in tuple(self._unanswered):
            self._answer(job, failure)

    def _observe(self, jobs: Sequence[Job]) -> None:
        readable = list[tuple[Job, Role]]()
        for job in jobs:
            try:
                readable.append((job, parse_role(job.role, job.params)))
            except StepFailed as failure:
                self._answer(job, failure)
        self._hands.begin()
        found = reconcile.observe(
            self._hands, [role for _, role in readable], [self._teller(job) for job, _ in readable]
        )
        for (job, _), result in zip(readable, found, strict=True):
            self._answer(job, result)

    def _change(self, job: Job) -> Outcome:
        if job.verb == "run":
            command = parse_run(job.params)
            self._hands.begin()
            return Outcome(outputs=self._hands.run(command, job.timeout_seconds), changes=())
        role = parse_role(job.role, job.params)
        self._hands.begin()
        act = reconcile.apply if job.verb == "apply" else sweep.remove
        return act(self._hands, role, self._teller(job))

    def _teller(self, job: Job) -> OnStep:
        reply = _reply(job)

        def tell(step: str, state: StepState) -> None:
            self._step = step
            self._send(reply.step(step, state))

        return tell

    def _answer(self, job: Job, result: Outcome | StepFailed) -> None:
        if job in self._unanswered:
            self._unanswered.remove(job)
        if isinstance(result, StepFailed):
            self._send(_reply(job).failed(result))
        else:
            self._send(_reply(job).done(result.outputs, result.changes))


def _reply(job: Job) -> Reply:
    return Reply(job=job.id, host=job.host, role=job.role)


def run(name: str, connection: Connection, reading: int, writing: int) -> None:
    """Be the child: serve `reading` and answer on `writing` until the former ends."""
    gevent.os.make_nonblocking(reading)
    gevent.os.make_nonblocking(writing)
    outbox: gevent.queue.Queue[bytes] = gevent.queue.Queue()
    gevent.spawn(_post, outbox, writing)
    Child(SshHands(name, connection), outbox.put).serve(_lines(reading))


def _lines(reading: int) -> Iterator[bytes]:
    rest = b""
    while chunk := gevent.os.nb_read(reading, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _post(outbox: gevent.queue.Queue[bytes], writing: int) -> None:
    """Write whole lines, one greenlet for all: a job that is stopped in the middle cannot cut one."""
    with suppress(BrokenPipeError):  # the worker is gone; that is seen where its requests are read
        for line in outbox:
            while line:
                line = line[gevent.os.nb_write(writing, line) :]
