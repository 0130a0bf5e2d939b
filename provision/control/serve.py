"""The control plane: keeps every window. Opens bookings before T1, closes them at T2, looks at hosts meanwhile.

It decides nothing by itself (`schedule.due`), holds no state worth keeping, and does each thing as a command of its
own (`timelock resume`, `timelock release`): whatever is killed, the next round finds what is still owed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.booking.lock import held, holder
from provision.booking.records import plan_of
from provision.control.background import lock_path
from provision.control.schedule import Action, Due, due, rest_ns
from provision.errors import MachineCannot

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.model import Booking
    from provision.supply.model import Host

ROUND_SECONDS = 1.0
IDLE_SECONDS = 60.0
CONNECT_SECONDS = 5.0
LOOKS_UNTIL_LOST = 3
AT_ONCE = 4

Say = Callable[[str], None]


@dataclass(slots=True)
class _Memory:
    """What one run of the control plane remembers between rounds; losing it costs a repeated look, nothing else."""

    rests_until_ns: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    silent: dict[tuple[str, str], int] = field(default_factory=dict)
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict)


def serve(desk: Desk, *, until_idle: bool, say: Say) -> None:
    """Keep windows until SIGTERM or SIGINT; with `until_idle`, until no booking has been live for a minute.

    Raises:
        Locked: a control plane runs already.
    """
    with held(lock_path(desk.home), operation="timelock serve"):
        asyncio.run(_serve(desk, until_idle, say))


async def _serve(desk: Desk, until_idle: bool, say: Say) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    memory, slots = _Memory(), asyncio.Semaphore(AT_ONCE)
    idle_since_ns = desk.now_ns()
    say("serving")
    trouble = ""
    while not stop.is_set():
        try:
            bookings = desk.ledger.bookings()
        except MachineCannot as error:  # the ledger is away: a window is kept by waiting for it, not by ending
            if error.message != trouble:
                say(f"{error.message}; trying on")
            trouble = error.message
            await _pause(stop)
            continue
        if trouble:
            say("the ledger is back")
            trouble = ""
        idle_since_ns = desk.now_ns() if bookings or memory.running else idle_since_ns
        if until_idle and desk.now_ns() - idle_since_ns > IDLE_SECONDS * 10**9:
            break
        _start_what_is_due(desk, bookings, memory, slots, say)
        await _pause(stop)
    say("stopping: commands that run go on by themselves")
    for task in memory.running.values():
        task.cancel()
    await asyncio.gather(*memory.running.values(), return_exceptions=True)


async def _pause(stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), ROUND_SECONDS)


def _start_what_is_due(
    desk: Desk, bookings: tuple[Booking, ...], memory: _Memory, slots: asyncio.Semaphore, say: Say
) -> None:
    by_name = {booking.name: booking for booking in bookings}
    for item in due(bookings, desk.now_ns(), rests_until_ns=memory.rests_until_ns):
        if item.booking in memory.running or (item.action is not Action.LOOK and _at_work(desk, item.booking)):
            continue
        task = asyncio.create_task(_do(desk, item, by_name[item.booking], memory, slots, say))
        memory.running[item.booking] = task
        task.add_done_callback(lambda _, name=item.booking: memory.running.pop(name, None))  # type: ignore[misc]


def _at_work(desk: Desk, name: str) -> bool:
    """Whether somebody does it already: `book` itself, or a person's `resume`."""
    return holder(desk.home.booking(name).lock) is not None


async def _do(desk: Desk, item: Due, booking: Booking, memory: _Memory, slots: asyncio.Semaphore, say: Say) -> None:
    async with slots:
        lost = await _look(booking, memory) if item.action is Action.LOOK else ()
        if lost:
            item = Due(booking=item.booking, action=Action.RESUME, reason=f"{', '.join(lost)} does not answer")
        if item.action is not Action.LOOK:
            say(f"{item.booking}: {item.action}: {item.reason}")
            code = await _run_command(item)
            say(f"{item.booking}: {item.action} ended with {code}")
            memory.failures[item.booking] = memory.failures.get(item.booking, 0) + 1 if code else 0
        rest = rest_ns(item.action, memory.failures.get(item.booking, 0))
        memory.rests_until_ns[item.booking] = desk.now_ns() + rest


async def _look(booking: Booking, memory: _Memory) -> tuple[str, ...]:
    """The hosts that did not answer in three looks running.

    None if none of several answers: then it is we who are cut off.
    """
    hosts = [planned.host for planned in plan_of(booking).hosts]
    answers = await asyncio.gather(*(_answers(host) for host in hosts))
    for host, answered in zip(hosts, answers, strict=True):
        key = (booking.name, host.name)
        memory.silent[key] = 0 if answered else memory.silent.get(key, 0) + 1
    lost = tuple(host.name for host in hosts if memory.silent[booking.name, host.name] >= LOOKS_UNTIL_LOST)
    return lost if any(answers) or len(hosts) == 1 else ()


async def _answers(host: Host) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host.address, host.port), CONNECT_SECONDS)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


async def _run_command(item: Due) -> int:
    """Run the command in a session of its own, so that it outlives us; its words go to our log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "provision",
        str(item.action),
        item.booking,
        *(["--yes"] if item.action is Action.RELEASE else []),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TIMELOCK_ACTOR": "serve"},
    )
    return await process.wait()
