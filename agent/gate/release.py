"""Signals to a process that is meant, not to one that has its number by now; and the end of a hold."""

from __future__ import annotations

import contextlib
import os
import signal

from agent.gate import bpf, proc
from agent.gate.event import HOLD, HOLD_KEY


def release(held: int, key: bytes) -> None:
    """Let one go on who stands by the kernel's list, and take the hold off the list."""
    if value := bpf.lookup(held, key, HOLD.size):
        at_ns, pid, _ = HOLD.unpack(value)
        if (pidfd := open_process(pid, at_ns)) >= 0:
            send(pidfd, signal.SIGCONT)
            os.close(pidfd)
        bpf.delete(held, key)


def release_all(held: int) -> None:
    """Let everybody go on who is on the kernel's list."""
    for key in set(bpf.keys(held, HOLD_KEY.size)):
        release(held, key)


def open_process(pid: int, at_ns: int) -> int:
    """Give a pidfd of the process that had this number at that time, or -1 if it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
    started_ns = proc.started_ns(pid)
    if started_ns is None or started_ns > at_ns:
        os.close(pidfd)
        return -1
    return pidfd


def send(pidfd: int, number: signal.Signals) -> None:
    """Signal the very process a pidfd was made for."""
    with contextlib.suppress(ProcessLookupError):  # it is gone: nobody is left to stop or continue
        signal.pidfd_send_signal(pidfd, number)
