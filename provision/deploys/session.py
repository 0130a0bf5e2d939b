"""One SSH session to one host, through pyinfra: a fact looks, an operation acts.

The host's key must stand in the booking's known_hosts file; an unknown or changed key is refused, never learnt. A
session that broke is opened again, once a job. What went wrong is told as StepFailed with a kind.
"""

from __future__ import annotations

import base64
import math
import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from paramiko import SSHException, Transport
from pyinfra.api import Config, FactBase, Host, Inventory, State, StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.operation import operation
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import get_host_keys
from pyinfra.context import ctx_host, ctx_state

from provision.deploys.errors import Kind, StepFailed
from provision.deploys.failures import of_command, of_connect
from provision.deploys.item import Command, quote
from provision.deploys.protocol import Connection, RunParams
from provision.deploys.script import framed, interruption

Result = TypeVar("Result")

LOOK_TIMEOUT_SECONDS = 30
_SILENCE_MILLISECONDS = 15_000  # how long sent data may stay unacknowledged before the kernel drops the connection
_GRACE_SECONDS = 10  # the remote end has the time limit; this end waits that much longer for its verdict
_BROKEN = (EOFError, OSError, SSHException, PyinfraError)


class Look(FactBase[str]):
    """What a script of probes printed."""

    def command(self, script: str) -> StringCommand:
        """Run the script for a limited time."""
        return StringCommand(f"timeout -k 1 {LOOK_TIMEOUT_SECONDS} sh -c {quote(script)}")

    def process(self, output: list[str]) -> str:
        """Return the text as it was."""
        return "\n".join(output)


@operation(is_idempotent=False)
def act(commands: Sequence[Command], booking: str) -> Generator[StringCommand, None, None]:
    """Run the commands of one step."""
    for command in commands:
        # A waiting command may have to wait for the lock as long as for itself.
        limit = command.timeout_seconds * (2 if command.exclusive else 1) + _GRACE_SECONDS
        yield StringCommand(framed(command, booking), _stdin=command.stdin, _timeout=limit)


class Session:
    """The session of one host; implements `reconcile.Hands`."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection
        self._state: State | None = None
        self._may_reconnect = True
        self._booking = ""

    def begin(self) -> None:
        """Start a job: the session is opened if it is not, and may be opened again once."""
        self._may_reconnect = True
        if self._state is not None and not self._alive():
            self.close()
        if self._state is None:
            self._connect()

    def look(self, script: str) -> str:
        """Run a script that only reads, and return what it printed."""
        return self._persist("observe", lambda: self._look(script))

    def act(self, booking: str, step: str, commands: Sequence[Command]) -> None:
        """Run the commands of a step, in order. Raises StepFailed at the first that fails."""
        self._persist(step, lambda: self._act(booking, step, commands))

    def run(self, params: RunParams, timeout_seconds: float) -> dict[str, object]:
        """Run any command; its failure is not ours. Returns stdout, stderr and status."""
        return self._persist("run", lambda: self._run(params, timeout_seconds))

    def interrupt(self) -> None:
        """End the command under way on the host, and the session: what it was doing is in an unknown state."""
        if self._booking and self._alive():
            with suppress(*_BROKEN), self._host() as host:
                host.run_shell_command(StringCommand(interruption(self._booking)), _timeout=5, **self._sudo)
        self.close()

    def close(self) -> None:
        """End the session, at once and without ceremony."""
        if self._state is not None:
            _transport(self._state).close()
            self._state = None

    def _look(self, script: str) -> str:
        with self._host() as host:
            seen: str | None = host.get_fact(
                Look, script=script, _timeout=LOOK_TIMEOUT_SECONDS + _GRACE_SECONDS, _ignore_errors=True, **self._sudo
            )
        if seen is None:
            raise StepFailed("observe", f"the host did not answer within {LOOK_TIMEOUT_SECONDS} s", kind="timeout")
        return seen

    def _act(self, booking: str, step: str, commands: Sequence[Command]) -> None:
        self._booking = booking
        with self._host() as host:
            meta = act(name=step, commands=tuple(commands), booking=booking, _ignore_errors=True, **self._sudo)
            _forget(host)
        self._booking = ""
        if not meta.did_succeed():
            raise of_command(step, meta.stderr)

    def _run(self, params: RunParams, timeout_seconds: float) -> dict[str, object]:
        limit = max(1, int(timeout_seconds))
        text = f"base64 -d | timeout -k 5 {limit} sh -c {quote(params.command)}; printf '\\n%d\\n' $?"
        stdin = base64.encodebytes(params.stdin.encode()).decode()
        with self._host() as host:
            _, output = host.run_shell_command(
                StringCommand(text), _stdin=stdin or None, _timeout=limit + _GRACE_SECONDS, **self._sudo
            )
        *stdout, status = output.stdout_lines
        return {"stdout": "\n".join(stdout), "stderr": output.stderr, "status": int(status)}

    def _persist(self, step: str, attempt: Callable[[], Result]) -> Result:
        """Do it; when the session breaks meanwhile, do it once more on a new one."""
        try:
            return attempt()
        except (StepFailed, *_BROKEN) as failure:
            if self._alive() and isinstance(failure, StepFailed):
                raise
            if self._alive() or not self._may_reconnect:
                kind: Kind = "timeout" if isinstance(failure, TimeoutError) else "unreachable"
                raise StepFailed(step, f"the SSH session broke: {failure!r}", kind=kind) from failure
        self._may_reconnect = False
        self.close()
        self._connect()
        return attempt()

    def _connect(self) -> None:
        """Open the session. Raises StepFailed of kind 'unreachable', 'host_key' or 'auth'."""
        where = self._connection
        limit = where.connect_timeout_seconds
        data = {
            "ssh_hostname": where.address,
            "ssh_port": where.port,
            "ssh_user": where.user,
            "ssh_key": where.key_file,
            "ssh_config_file": os.devnull,
            "ssh_known_hosts_file": where.known_hosts_file,
            "ssh_strict_host_key_checking": "yes",
            "ssh_paramiko_connect_kwargs": {"banner_timeout": limit, "auth_timeout": limit, "channel_timeout": limit},
        }
        state = State(
            Inventory(([(self._name, data)], {})), Config(CONNECT_TIMEOUT=math.ceil(limit)), check_for_changes=False
        )
        get_host_keys.cache.clear()  # a process-wide cache; a host that was re-pinned must be read anew
        try:
            with ctx_state.use(state):
                state.inventory.get_host(self._name).connect(show_errors=False, raise_exceptions=True)
        except (ConnectError, *_BROKEN) as failure:
            raise of_connect(failure, f"{where.user}@{where.address}:{where.port}") from failure
        state.is_executing = True
        _watch(_transport(state))
        self._state = state

    @property
    def _sudo(self) -> dict[str, Any]:
        return {} if self._connection.user == "root" else {"_sudo": True}

    @contextmanager
    def _host(self) -> Iterator[Host]:
        """Make this session pyinfra's current one. Raises OSError when there is none."""
        if self._state is None:
            raise ConnectionError("no session")
        host = self._state.inventory.get_host(self._name)
        with ctx_state.use(self._state), ctx_host.use(host):
            yield host

    def _alive(self) -> bool:
        return self._state is not None and bool(_transport(self._state).is_active())


def _transport(state: State) -> Transport:
    (host,) = state.inventory
    connector = host.connector
    if not isinstance(connector, SSHConnector) or connector.client is None:
        raise ConnectionError("no session")
    transport = connector.client.get_transport()
    if transport is None:
        raise ConnectionError("no session")
    return transport


def _watch(transport: Transport) -> None:
    """Let the kernel notice a peer that went silent, at work or idle."""
    connection = transport.sock
    if not isinstance(connection, socket.socket):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MILLISECONDS)


def _forget(host: Host) -> None:
    """Drop what pyinfra keeps of an operation: it holds what was sent on standard input."""
    host.state.ops[host].clear()
    host.state.op_meta.clear()
    host.op_hash_order.clear()
