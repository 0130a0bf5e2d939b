"""One SSH session to one host, through pyinfra: a fact looks, an operation acts.

The host's key must stand in the booking's known_hosts file; an unknown or changed key is refused, never learnt. What
breaks the session is raised as it is (BROKEN); `hands.py` decides what to do then.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from paramiko import SSHException, Transport
from pyinfra.api import Config, FactBase, Host, Inventory, State, StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.operation import operation
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import get_host_keys
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host, ctx_state

from provision.deploys.errors import StepFailed
from provision.deploys.failures import of_command, of_connect
from provision.deploys.item import Command, quote
from provision.deploys.protocol import Connection

BROKEN = (EOFError, OSError, SSHException, PyinfraError)
LOOK_TIMEOUT_SECONDS = 60
GRACE_SECONDS = 10
"""The host keeps the time limit of what runs on it; this end waits that much longer for the verdict."""

_SILENCE_MILLISECONDS = 15_000


class Look(FactBase[str]):
    """What a script of probes printed."""

    def command(self, script: str) -> StringCommand:
        """Run the script for a limited time."""
        return StringCommand(f"timeout -k 1 {LOOK_TIMEOUT_SECONDS} sh -c {quote(script)}")

    def process(self, output: list[str]) -> str:
        """Return the text as it was."""
        return "\n".join(output)


@operation(is_idempotent=False)
def act(commands: Sequence[tuple[str, Command]]) -> Generator[StringCommand, None, None]:
    """Run the commands of one step, each with its frame."""
    for text, command in commands:
        # An exclusive command may have to wait for the lock as long as it may run.
        limit = command.timeout_seconds * (2 if command.exclusive else 1) + GRACE_SECONDS
        yield StringCommand(text, _stdin=command.stdin, _timeout=limit)


class Session:
    """An open session. Raises StepFailed of kind 'unreachable', 'host_key' or 'auth' when it cannot be opened."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._state = _connect(name, connection)
        (self._host,) = self._state.inventory
        self._sudo: dict[str, Any] = {} if connection.user == "root" else {"_sudo": True}

    def look(self, script: str) -> str:
        """Run a script that only reads, and return what it printed."""
        limit = LOOK_TIMEOUT_SECONDS + GRACE_SECONDS
        with self._current():
            seen: str | None = self._host.get_fact(
                Look, script=script, _timeout=limit, _ignore_errors=True, **self._sudo
            )
        if seen is None:
            raise StepFailed("observe", f"the host did not answer within {LOOK_TIMEOUT_SECONDS} s", kind="timeout")
        return seen

    def act(self, step: str, commands: Sequence[tuple[str, Command]]) -> None:
        """Run framed commands, in order. Raises StepFailed at the first that fails."""
        with self._current():
            meta = act(name=step, commands=tuple(commands), _ignore_errors=True, **self._sudo)
            self._forget()
        if not meta.did_succeed():
            raise of_command(step, meta.stderr)

    def run(self, text: str, *, stdin: str = "", timeout_seconds: float) -> tuple[bool, CommandOutput]:
        """Run shell text; return whether it ended with 0, and what it wrote."""
        with self._current():
            return self._host.run_shell_command(
                StringCommand(text), _stdin=stdin or None, _timeout=math.ceil(timeout_seconds), **self._sudo
            )

    @property
    def alive(self) -> bool:
        """Whether the session seems to be open."""
        return bool(_transport(self._host).is_active())

    def answers(self) -> bool:
        """Whether the session works, by trying it: a transport notices its end a moment after its channels."""
        try:
            return self.run("true", timeout_seconds=GRACE_SECONDS)[0]
        except BROKEN:
            return False

    def close(self) -> None:
        """End the session, at once and without ceremony."""
        _transport(self._host).close()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Make this session the one that pyinfra works on."""
        with ctx_state.use(self._state), ctx_host.use(self._host):
            yield

    def _forget(self) -> None:
        """Drop what pyinfra keeps of an operation: it holds what was sent on standard input."""
        self._state.ops[self._host].clear()
        self._state.op_meta.clear()
        self._host.op_hash_order.clear()


def _connect(name: str, where: Connection) -> State:
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
    config = Config(CONNECT_TIMEOUT=math.ceil(limit))
    state = State(Inventory(([(name, data)], {})), config, check_for_changes=False)
    (host,) = state.inventory
    get_host_keys.cache.clear()  # a process-wide cache; the keys of a host that was re-pinned must be read anew
    try:
        with ctx_state.use(state):
            host.connect(show_errors=False, raise_exceptions=True)
    except (ConnectError, *BROKEN) as failure:
        raise of_connect(failure, f"{where.user}@{where.address}:{where.port}") from failure
    state.is_executing = True  # an operation runs when it is called
    _tune(_transport(host))
    return state


def _transport(host: Host) -> Transport:
    connector = host.connector
    transport = None
    if isinstance(connector, SSHConnector) and connector.client is not None:
        transport = connector.client.get_transport()
    if transport is None:
        raise ConnectionError("no session")
    return transport


def _tune(transport: Transport) -> None:
    """Send small packets at once (40 ms a command else); let the kernel notice a peer that went silent."""
    connection = transport.sock
    if not isinstance(connection, socket.socket):
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MILLISECONDS)
