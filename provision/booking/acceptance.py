"""Trying a booking's hosts together, once all roles are in place: mesh, firewall, Ray's resources, every GPU slot.

One command a host, all at once; `provision.booking.trial` judges. Success is counted in hosts: a host is accepted when
each of its checks is well. Nothing is changed on a host.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from provision.booking.trial import SHUT, Acceptance, Check, Findings, Member, Trial, judge
from provision.deploys import ports
from provision.deploys.places import engine_socket

if TYPE_CHECKING:
    from provision.booking.workers import Answer

__all__ = ["LIMIT_SECONDS", "Acceptance", "Check", "Member", "Run", "Trial", "examine"]

LIMIT_SECONDS = 90
"""How long a tunnel, a Ray node or a task may take to appear, before it counts as missing."""

_GRACE_SECONDS = 30
_TEMPLATES = Path(__file__).parent / "templates"


class Run(Protocol):
    """Runs a command on a host."""

    def __call__(self, host: str, command: str, stdin: str = "", timeout_seconds: int = 60) -> Awaitable[Answer]:
        """Return what it printed; raise when the host cannot be asked."""


async def examine(trial: Trial, run: Run, limit_seconds: int = LIMIT_SECONDS) -> Acceptance:
    """Try all hosts at once and judge. What `run` raises for a host that cannot be asked, passes."""
    timeout_seconds = limit_seconds + _GRACE_SECONDS
    head = trial.members[0]
    driver = (_TEMPLATES / "slots.py.in").read_text()
    answers = await asyncio.gather(
        *(
            run(
                member.name,
                command(trial, member, limit_seconds),
                stdin=driver if member is head else "",
                timeout_seconds=timeout_seconds,
            )
            for member in trial.members
        )
    )
    members = [member.name for member in trial.members]
    found = [Findings.parse(answer.stdout, answer.stderr) for answer in answers]
    return judge(trial, dict(zip(members, found, strict=True)))


def command(trial: Trial, member: Member, limit_seconds: int) -> str:
    """Return the shell text that `member` is asked.

    It knocks at the ports of its neighbour in a ring, so that each host is knocked at once; the head runs the driver
    (on standard input) beside that.
    """
    members = trial.members
    neighbour = members[(members.index(member) + 1) % len(members)]
    mesh = [
        f"{other.mesh_address}:{ports.GCS if other is members[0] else ports.NODE_MANAGER}"
        for other in members
        if other is not member
    ]
    shut = [f"{neighbour.address}:{port}" for port in SHUT if neighbour is not member]
    words = shlex.join(["outside", engine_socket(trial.booking), str(limit_seconds), *mesh, "--", *shut])
    script = shlex.quote((_TEMPLATES / "trial.sh").read_text())
    driver = _driver(trial, limit_seconds) if member is members[0] else ":"
    return f'export script={script}\nbash -c "$script" {words} </dev/null &\n{driver}\nwait'


def _driver(trial: Trial, limit_seconds: int) -> str:
    """Return the command that runs `slots.py` in the head's container."""
    plan = {
        "address": f"{trial.members[0].mesh_address}:{ports.GCS}",
        "nodes": [member.mesh_address for member in trial.members],
        "slots": sum(len(member.gpus) for member in trial.members),
        "limit_seconds": limit_seconds,
    }
    socket = f"unix://{engine_socket(trial.booking)}"
    words = shlex.join(["docker", "-H", socket, "exec", "-i", "ray", "python3", "-", json.dumps(plan)])
    return f"timeout {limit_seconds + _GRACE_SECONDS // 2} {words}"
