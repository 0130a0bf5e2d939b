"""Confirms by hold: an opener that is not listed stands still while we look whether it has the device.

In OBSERVE the gate's program sends SIGSTOP from inside the opening, which takes effect when the opener leaves the
kernel: it has its descriptor by then, and has not executed one instruction with it. Where the kernel lets the program
send no signals, and for a thread whose stop was undone by another's SIGCONT, we send SIGSTOP when the event arrives;
who closes faster than that is seen as an attempt.

Whoever is to stand is written down in a map of the kernel before he is stopped. A watchdog, a process of its own
(`agent.gate.watchdog`), continues those who stand for too long, and all if we die. The program holds nobody once we
have not renewed for ARMED_NS.

An accomplice that sends SIGCONT, or a tracer, can undo a hold; then an opening that was closed meanwhile is seen as an
attempt. It is never unseen: the event was in the ring before.
"""

from __future__ import annotations

import enum
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from agent.errors import GateUnavailable
from agent.gate import bpf, proc
from agent.gate.device import DeviceRange
from agent.gate.event import HOLD, HOLD_KEY, Access, Event, Verdict
from agent.gate.gate import Gate, now_ns
from agent.gate.release import open_process, release_all, send

LIMIT_NS = 1_000_000_000  # of standing
PATIENCE_NS = 10_000_000_000  # of waiting until somebody stands: a driver's first opening may take seconds
FRESH_NS = 20_000_000
ARMED_NS = 2_000_000_000
PACKAGES = Path(__file__).parents[2]


class Strength(enum.StrEnum):
    """What an observation is worth."""

    ATTEMPT = "attempt"  # it asked the kernel, and has nothing
    OPEN = "open"  # it has a descriptor or a mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What was seen of an opener while it stood; `stood` is false if it would not stand, or was gone."""

    event: Event
    strength: Strength
    descriptors: tuple[int, ...]
    mappings: tuple[int, ...]
    stood: bool
    held_ns: int


@dataclass(slots=True)
class _Stander:
    """A process that stands, or is about to, for these events; gone, it has no pidfd (-1)."""

    pid: int
    pidfd: int
    since_ns: int
    events: list[Event] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.pidfd >= 0

    def stands(self) -> bool:
        return not self.alive or all(proc.stands(self.pid, event.tid) for event in self.events)

    def close(self) -> None:
        if self.alive:
            os.close(self.pidfd)


def to_be_confirmed(event: Event) -> bool:
    """Whether an event leaves open what became of it: let through, not listed, more than a mknod."""
    return event.opening.verdict is Verdict.OBSERVED and bool(event.opening.access & (Access.READ | Access.WRITE))


class Holder:
    """Confirms the events of one gate. Give it events with `take`, and call `step` until it has answered all."""

    def __init__(
        self,
        gate: Gate,
        devices: tuple[DeviceRange, ...],
        *,
        limit_ns: int = LIMIT_NS,
        patience_ns: int = PATIENCE_NS,
    ) -> None:
        if not proc.in_initial_namespace():
            raise GateUnavailable(
                "hold: expected the initial pid namespace, found another: events' pids cannot be followed",
                next_step="run the agent on the host itself, or use deny, which needs no confirmation",
            )
        self._gate = gate
        self._devices = devices
        self._limit_ns = limit_ns
        self._patience_ns = patience_ns
        self._standing: dict[int, _Stander] = {}
        self._watchdog = self._start_watchdog()
        self.arm()

    def __enter__(self) -> Self:
        """Return self; leaving the block lets everybody go on."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def pending(self) -> bool:
        """Whether somebody is not yet answered for."""
        return bool(self._standing)

    @property
    def pause_seconds(self) -> float:
        """How soon to call `step` again: at once for who was stopped just now, later for who is slow to stand."""
        newest_ns = max((stander.since_ns for stander in self._standing.values()), default=0)
        if not newest_ns:
            return 1.0
        return 0.0005 if now_ns() - newest_ns < FRESH_NS else 0.02

    @property
    def watchdog_pid(self) -> int:
        """The watchdog's process."""
        return self._watchdog.pid

    def arm(self) -> None:
        """Let the program hold for ARMED_NS more; call it every second. It is never armed without a watchdog."""
        if self._watchdog.poll() is not None:
            self._watchdog = self._start_watchdog()
        self._gate.hold_until(now_ns() + ARMED_NS)

    def disarm(self) -> None:
        """Let the program hold nobody any more."""
        self._gate.hold_until(0)

    def take(self, event: Event) -> None:
        """Take an event that is `to_be_confirmed`, and stop its opener if it does not stand already."""
        stander = self._standing.get(event.opening.pid) or self._stop(event)
        stander.events.append(event)

    def step(self) -> Iterator[Confirmation]:
        """Look at those who stand by now, let them go on, and give what was seen. Never waits."""
        for stander in list(self._standing.values()):
            stood = stander.stands()
            if stood or now_ns() >= stander.since_ns + self._patience_ns:
                yield from self._finish(stander, stood=stood)

    def close(self) -> None:
        """Hold nobody any more, let all go on, and end the watchdog."""
        self.disarm()
        release_all(self._gate.held_fd)
        for stander in self._standing.values():
            stander.close()
        self._standing.clear()
        self._watchdog.kill()
        self._watchdog.wait()

    def _stop(self, event: Event) -> _Stander:
        """Write the hold down, then stop the process; a second SIGSTOP to one that stands changes nothing."""
        pid = event.opening.pid
        stander = _Stander(pid=pid, pidfd=open_process(pid, event.at_ns), since_ns=now_ns())
        if stander.alive:
            if self._note(event):
                send(stander.pidfd, signal.SIGSTOP)
            else:  # nobody would let it go on if we died: look at once, as it is
                stander.since_ns -= self._patience_ns
        self._standing[pid] = stander
        return stander

    def _note(self, event: Event) -> bool:
        """Write a hold down, over the kernel's own note if there is one; false if the table is full."""
        hold = HOLD.pack(event.at_ns, event.opening.pid, event.tid)
        try:
            bpf.update(self._gate.held_fd, HOLD_KEY.pack(event.sequence), hold)
        except OSError as error:
            if error.errno != errno.E2BIG:
                raise
            return False
        return True

    def _finish(self, stander: _Stander, *, stood: bool) -> Iterator[Confirmation]:
        found = proc.descriptors(stander.pid, self._devices) if stander.alive else ()
        mapped = proc.mappings(stander.pid, self._devices) if stander.alive else ()
        del self._standing[stander.pid]
        if stander.alive:
            send(stander.pidfd, signal.SIGCONT)
        stander.close()
        for event in stander.events:
            bpf.delete(self._gate.held_fd, HOLD_KEY.pack(event.sequence))
            yield Confirmation(
                event=event,
                strength=Strength.OPEN if found or mapped else Strength.ATTEMPT,
                descriptors=found,
                mappings=mapped,
                stood=stood and stander.alive,
                held_ns=now_ns() - event.at_ns,
            )

    def _start_watchdog(self) -> subprocess.Popen[bytes]:
        numbers = (os.getpid(), self._gate.held_fd, self._limit_ns, ARMED_NS)
        return subprocess.Popen(
            [sys.executable, "-m", "agent.gate.watchdog", *map(str, numbers)],
            pass_fds=(self._gate.held_fd,),
            env={**os.environ, "PYTHONPATH": str(PACKAGES)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
