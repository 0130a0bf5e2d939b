"""The deploys' fork server: `python -m provision.deploys.worker`, jobs on stdin, replies on stdout (see protocol.py).

pyinfra and the roles are imported once; each host gets a forked child with one SSH session. This process never enters
gevent's loop, so that a fork inherits no loop and no greenlet: it only moves lines. When stdin ends, or SIGTERM comes,
the children's pipes end and they with them. SIGINT is left to whoever started this.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import importlib  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from types import FrameType  # noqa: E402
from typing import NoReturn  # noqa: E402

from provision.deploys import child  # noqa: E402
from provision.deploys.errors import StepFailed  # noqa: E402
from provision.deploys.protocol import Connection, Job, Reply, parse  # noqa: E402
from provision.deploys.role import NAMES  # noqa: E402

_poll = monkey.get_original("select", "poll")
_fork = monkey.get_original("os", "fork")
_waitpid = monkey.get_original("os", "waitpid")
_READABLE = 1
_CHUNK = 1 << 16
_FAREWELL_MILLISECONDS = 4_000


@dataclass(slots=True, kw_only=True)
class _Line:
    """The pipes to one child, and the jobs that it has not answered."""

    host: str
    connection: Connection
    pid: int
    jobs: int
    replies: int
    rest: bytes = b""
    open_jobs: dict[int, Job] = field(default_factory=dict)


class Worker:
    """Moves lines between `reading`, `writing` and one child per host."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._rest = b""
        self._lines: dict[int, _Line] = {}  # by file descriptor of the replies

    def serve(self) -> None:
        """Serve until `reading` ends; then let the children end, and end those that do not."""
        try:
            while self._turn(None, self._reading):
                pass
        finally:
            self._farewell()

    def _turn(self, timeout_milliseconds: int | None, *also: int) -> bool:
        """Wait for lines and move them; False when `also` ended, or nothing came in time."""
        poll = _poll()
        for descriptor in (*also, *self._lines):
            poll.register(descriptor, _READABLE)
        ready = [descriptor for descriptor, _ in poll.poll(timeout_milliseconds)]
        for descriptor in ready:
            chunk = os.read(descriptor, _CHUNK)
            if descriptor != self._reading:
                self._hear(self._lines[descriptor], chunk)
            elif chunk:
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    self._take(line)
            else:
                return False
        return bool(ready)

    def _take(self, line: bytes) -> None:
        """Pass one request on to the child that it concerns."""
        try:
            request = parse(line)
        except StepFailed as failure:
            self._say(Reply(job=_job_id(line), host="", role="").failed(failure))
            return
        if isinstance(request, Job):
            self._submit(request, line)
            return
        for known in self._lines.values():
            if request.params["id"] in known.open_jobs:
                _write(known.jobs, line + b"\n")

    def _submit(self, job: Job, line: bytes) -> None:
        same = (known for known in self._lines.values() if (known.host, known.connection) == (job.host, job.connection))
        known = next(same, None) or self._start(job)
        known.open_jobs[job.id] = job
        _write(known.jobs, line + b"\n")

    def _start(self, job: Job) -> _Line:
        """Fork the child of a host; it inherits no other child's pipes, or their ends would never be seen."""
        jobs, replies = os.pipe(), os.pipe()
        pid = _fork()
        if pid == 0:
            others = [end for known in self._lines.values() for end in (known.jobs, known.replies)]
            _be_child(job, jobs[0], replies[1], (jobs[1], replies[0], *others))
        os.close(jobs[0])
        os.close(replies[1])
        known = _Line(host=job.host, connection=job.connection, pid=pid, jobs=jobs[1], replies=replies[0])
        self._lines[known.replies] = known
        return known

    def _hear(self, known: _Line, chunk: bytes) -> None:
        """Pass a child's replies on; a child that ended leaves no job without an answer."""
        *lines, known.rest = (known.rest + chunk).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["event"] != "step":
                known.open_jobs.pop(message["id"], None)
            self._say(line + b"\n")
        if not chunk:
            del self._lines[known.replies]
            os.close(known.jobs)
            os.close(known.replies)
            _, status = _waitpid(known.pid, 0)
            ended = f"the worker process of this host ended (status {os.waitstatus_to_exitcode(status)})"
            for job in known.open_jobs.values():
                failure = StepFailed("worker", ended, next_step="resume; if it happens again, report it")
                self._say(Reply(job=job.id, host=job.host, role=job.role).failed(failure))

    def _say(self, line: bytes) -> None:
        _write(self._writing, line)

    def _farewell(self) -> None:
        """End the pipes to all children, hear them out for a while, then kill who is left."""
        for known in self._lines.values():
            os.dup2(_null(), known.jobs)
        while self._lines and self._turn(_FAREWELL_MILLISECONDS):
            pass
        for known in self._lines.values():
            os.kill(known.pid, signal.SIGKILL)
            _waitpid(known.pid, 0)


def _be_child(job: Job, reading: int, writing: int, inherited: tuple[int, ...]) -> NoReturn:
    """Serve one host, then end; never return into the parent's code."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for descriptor in inherited:
            os.close(descriptor)
        for standard in (0, 1):
            os.dup2(_null(), standard)
        child.run(job.host, job.connection, reading, writing)
        status = 0
    except Exception:  # the edge of a process: its last words are all that is left
        logging.getLogger("timelock.worker").exception("worker process of %s", job.host)
    finally:
        os._exit(status)


def _null() -> int:
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def _write(descriptor: int, line: bytes) -> None:
    """Write all of it; an end that is gone shows when it is read."""
    try:
        while line:
            line = line[os.write(descriptor, line) :]
    except BrokenPipeError:
        return


def _job_id(line: bytes) -> int:
    """Return the id of a request that is invalid otherwise; -1 when it has none."""
    try:
        message = json.loads(line)
    except ValueError:
        return -1
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, int) else -1


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)


def main() -> None:
    """Serve stdin and stdout until the former ends."""
    for name in ("pyinfra", "paramiko"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    for role in NAMES:
        if importlib.util.find_spec(f"provision.deploys.{role}"):
            importlib.import_module(f"provision.deploys.{role}")
    Worker(0, 1).serve()


if __name__ == "__main__":
    main()
