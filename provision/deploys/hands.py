"""What a host's jobs work with: a session that is opened when needed, and opened again once a job when it breaks."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from provision.deploys.errors import Kind, StepFailed
from provision.deploys.item import Command, quote
from provision.deploys.protocol import Connection, RunParams
from provision.deploys.script import framed, interruption
from provision.deploys.session import BROKEN, GRACE_SECONDS, Session

Result = TypeVar("Result")
_INTERRUPT_TIMEOUT_SECONDS = 3


class SshHands:
    """Implements `reconcile.Hands` over SSH."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection
        self._session: Session | None = None
        self._may_reconnect = True
        self._token = ""

    def begin(self) -> None:
        """Start a job: the session is opened if it is not, and may be opened again once."""
        self._may_reconnect = True
        if self._session is None or not self._session.alive:
            self._session = self._open()

    def look(self, script: str) -> str:
        """Run a script that only reads, and return what it printed."""
        return self._persist("observe", lambda session: session.look(script))

    def act(self, booking: str, step: str, commands: Sequence[Command]) -> None:
        """Run the commands of a step, in order. Raises StepFailed at the first that fails."""

        def attempt(session: Session) -> None:
            with self._named() as token:
                session.act(step, [(framed(command, booking, token), command) for command in commands])

        self._persist(step, attempt)

    def run(self, params: RunParams, timeout_seconds: float) -> dict[str, object]:
        """Run any command; its failure is not ours. Returns stdout, stderr and status."""
        limit = max(1, int(timeout_seconds))
        stdin = base64.encodebytes(params.stdin.encode()).decode()

        def attempt(session: Session) -> dict[str, object]:
            with self._named() as token:
                inner = quote(f": {token}\n{params.command}")
                text = f"base64 -d | timeout -k 5 {limit} sh -c {inner}; printf '\\n%d\\n' $?"
                _, output = session.run(text, stdin=stdin, timeout_seconds=limit + GRACE_SECONDS)
            if not output.stdout_lines:
                raise ConnectionError("the command was cut off")
            *stdout, status = output.stdout_lines
            return {"stdout": "\n".join(stdout), "stderr": output.stderr, "status": int(status)}

        return self._persist("run", attempt)

    def interrupt(self) -> None:
        """End the command under way on the host, and the session: what it was doing is in an unknown state."""
        if self._session is None:
            return
        if self._token:
            with suppress(*BROKEN):
                self._session.run(interruption(self._token), timeout_seconds=_INTERRUPT_TIMEOUT_SECONDS)
        self._token = ""
        self._session.close()
        self._session = None

    def _open(self) -> Session:
        if self._session is not None:
            self._session.close()
            self._session = None
        return Session(self._name, self._connection)

    def _persist(self, step: str, attempt: Callable[[Session], Result]) -> Result:
        """Do it; when the session breaks meanwhile, do it once more on a new one."""
        session = self._session or self._open()
        try:
            self._session = session
            return attempt(session)
        except (StepFailed, *BROKEN) as failure:
            answers = session.answers()
            if answers and isinstance(failure, StepFailed):
                raise
            if answers or not self._may_reconnect:
                kind: Kind = "timeout" if isinstance(failure, TimeoutError) else "unreachable"
                raise StepFailed(step, f"the SSH session broke: {failure!r}", kind=kind) from failure
        self._may_reconnect = False
        self._session = self._open()
        return self._persist(step, attempt)

    @contextmanager
    def _named(self) -> Iterator[str]:
        """Name what runs on the host, so that `interrupt` finds it; an exception leaves the name for it."""
        self._token = f"timelock-{secrets.token_hex(8)}"
        yield self._token
        self._token = ""
