"""Tells whether something listens, and whether a host answers SSH, by reading the greeting of its server.

Says nothing about keys or log-ins, and never sends a byte.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

SSH_PORT = 22
GREETING = b"SSH-"
TRY_SECONDS = 0.2
GREETING_SECONDS = 5.0
POLL_SECONDS = 0.02


def listens(address: str, port: int, *, timeout_seconds: float = TRY_SECONDS) -> bool:
    """Say whether a TCP connection can be made."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=timeout_seconds):
        return True
    return False


def answers_ssh(address: str, *, timeout_seconds: float = TRY_SECONDS) -> bool:
    """Say whether an SSH server greets at the address; the time is for the connection, the greeting gets more."""
    try:
        with socket.create_connection((address, SSH_PORT), timeout=timeout_seconds) as connection:
            connection.settimeout(GREETING_SECONDS)
            return connection.recv(len(GREETING)) == GREETING
    except OSError:
        return False


def wait_for_ssh(address: str, *, limit_seconds: float, alive: Callable[[], bool]) -> bool:
    """Wait until SSH is answered; gives up, with False, at the limit or when `alive` says the host is dead."""
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline:
        if answers_ssh(address):
            return True
        if not alive():
            return False
        time.sleep(POLL_SECONDS)
    return False
