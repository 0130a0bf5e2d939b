"""What a command used: wall time, CPU time (its own, and that of a lab's hosts), and how busy the machine was then.

CPU time says more than wall time on a machine that others work on too; the share of the others says how far to trust
the wall time.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """`busy` is the share of the machine's CPU time that was not idle, `others` the share that was not ours."""

    began_ns: int
    seconds: float
    cpu_seconds: float
    busy: float
    others: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    at: float
    own_seconds: float
    machine_seconds: float
    idle_seconds: float


class CommandFailed(Exception):
    """A measured command ended with another status than 0, or not in time."""


def measured(
    command: Sequence[str | Path], *, group: Path, environ: Mapping[str, str], log: Path, limit_seconds: float
) -> Usage:
    """Run `command` with its output in `log`; `group` is the control group (version 2) of the hosts it works on.

    Raises:
        CommandFailed: it failed; the message ends with the last lines of its log.
    """
    began_ns, before = time.time_ns(), _mark(group)
    with log.open("wb") as output:
        try:
            status: object = subprocess.run(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environ),
                timeout=limit_seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"none within {limit_seconds:.0f} s"
    if status != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise CommandFailed(f"{' '.join(map(str, command))}: expected status 0, found {status}:\n{last}")
    return _between(before, _mark(group), began_ns)


def _between(before: _Mark, after: _Mark, began_ns: int) -> Usage:
    machine = max(after.machine_seconds - before.machine_seconds, 1 / TICKS_PER_SECOND)
    busy = machine - (after.idle_seconds - before.idle_seconds)
    own = after.own_seconds - before.own_seconds
    return Usage(
        began_ns=began_ns,
        seconds=after.at - before.at,
        cpu_seconds=own,
        busy=busy / machine,
        others=max(0.0, busy - own) / machine,
    )


def _mark(group: Path) -> _Mark:
    fields = [int(word) / TICKS_PER_SECOND for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return _Mark(
        at=time.perf_counter(),
        own_seconds=_group_seconds(group) + children.ru_utime + children.ru_stime,
        machine_seconds=sum(fields),
        idle_seconds=fields[3] + fields[4],
    )


def _group_seconds(group: Path) -> float:
    for line in (group / "cpu.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec":
            return int(value) / 1e6
    return 0.0
