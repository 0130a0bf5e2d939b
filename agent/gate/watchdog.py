"""The watchdog of holds: lets go on whoever stands for too long, and everybody when the agent is gone.

It is a process of its own that does nothing else, started by `agent.gate.hold` with the map of holds as its only
belonging. Signals that stop a whole unit do not end it: it ends after its agent.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

from agent.gate import bpf, proc
from agent.gate.event import HOLD, HOLD_KEY
from agent.gate.gate import now_ns
from agent.gate.release import release, release_all

LOOK_MS = 250
LOOK_OFTEN_MS = 20


def watch(agent: int, held: int, limit_ns: int, armed_ns: int) -> None:
    """Watch over the holds of an agent, given by pid, until it is gone and its program can hold nobody any more."""
    standing: dict[bytes, int] = {}
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(agent)
        while os.getppid() == agent and not _ended(pidfd, LOOK_MS):
            standing = release_overdue(held, standing, limit_ns, now_ns())
    end_ns = now_ns() + armed_ns
    while now_ns() < end_ns:  # SIGCONT also undoes a stop that has not yet taken effect
        release_all(held)
        select.poll().poll(LOOK_OFTEN_MS)


def release_overdue(held: int, standing: dict[bytes, int], limit_ns: int, at_ns: int) -> dict[bytes, int]:
    """Let go on who has been seen standing for the limit; give since when the others have been seen to.

    Who is still in the driver's opening does not stand, and is left alone however long that takes.
    """
    seen = {}
    for key in set(bpf.keys(held, HOLD_KEY.size)):
        value = bpf.lookup(held, key, HOLD.size)
        if value and proc.stands(*HOLD.unpack(value)[1:]):
            seen[key] = standing.get(key, at_ns)
            if at_ns - seen[key] >= limit_ns:
                release(held, key)
    return seen


def _ended(pidfd: int, timeout_ms: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_ms))


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(*map(int, sys.argv[1:]))
