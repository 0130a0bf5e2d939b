"""Trying a booking's hosts together, once all roles are in place: mesh, firewall, Ray's resources, every GPU slot.

One command a host, all at once; the judging is pure. Success is counted in hosts: a host is accepted when each of its
checks is well. Nothing is changed on a host.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from provision.deploys import ports
from provision.deploys.places import engine_socket

if TYPE_CHECKING:
    from stacks.spec import BookingSpec

LIMIT_SECONDS = 60
"""How long a tunnel, a Ray node or a task may take to appear, before it counts as missing."""

_GRACE_SECONDS = 30
_MARK = "##timelock "
_SHUT = (ports.GCS, ports.NODE_MANAGER, ports.DASHBOARD, ports.CLIENT)
_TEMPLATES = Path(__file__).parent / "templates"


class Answer(Protocol):
    """What a command printed, and its exit status."""

    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...
    @property
    def status(self) -> int: ...


class Run(Protocol):
    """Runs a command on a host."""

    def __call__(self, host: str, command: str, stdin: str = "", timeout_seconds: int = 60) -> Awaitable[Answer]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A host of the booking, as it should be found."""

    name: str
    address: str
    mesh_address: str
    gpus: tuple[str, ...]
    cpus: int
    ssh_port: int
    udp_ports: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried: the members, head first."""

    booking: str
    members: tuple[Member, ...]

    @classmethod
    def of(cls, spec: BookingSpec) -> Trial:
        """Return the trial of a stack's spec: the same parameters that its hosts were given."""
        from stacks.booking import resources

        params = {(resource.host, resource.role): resource.params for resource in resources(spec)}
        hosts = sorted(spec.hosts, key=lambda host: host.name != spec.head)
        return cls(
            booking=spec.name,
            members=tuple(
                Member(
                    name=host.name,
                    address=host.address,
                    mesh_address=str(params[host.name, "ray"]["address"]),
                    gpus=tuple(gpu.uuid for gpu in host.gpus),
                    cpus=int(str(params[host.name, "ray"]["cpus"])),
                    ssh_port=host.connection.port,
                    udp_ports=tuple(json.loads(json.dumps(params[host.name, "firewall"]["udp_ports"]))),
                )
                for host in hosts
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at on one host."""

    name: str
    host: str
    ok: bool
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """All checks, and the worst round trip between two hosts over the mesh (None where none was measured)."""

    checks: tuple[Check, ...]
    worst_rtt_ns: int | None

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that are not well."""
        return tuple(check for check in self.checks if not check.ok)

    @property
    def accepted(self) -> tuple[str, ...]:
        """The hosts of which every check is well."""
        refused = {check.host for check in self.failures}
        return tuple(dict.fromkeys(check.host for check in self.checks if check.host not in refused))


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one host printed."""

    reached: dict[str, int] = field(default_factory=dict)
    listens: set[tuple[str, str, int]] = field(default_factory=set)
    answers: set[str] = field(default_factory=set)
    drops: bool = False
    nodes: dict[str, tuple[int, int]] = field(default_factory=dict)
    slots: list[tuple[str, str]] = field(default_factory=list)
    trouble: str = ""

    @classmethod
    def parse(cls, stdout: str, stderr: str = "") -> Findings:
        """Read the lines of `trial.sh`, and on the head the line of `slots.py`."""
        found = cls(trouble="\n".join(stderr.strip().splitlines()[-3:]))
        for line in stdout.splitlines():
            match line.split():
                case ["reached", address, microseconds]:
                    found.reached[address] = int(microseconds) * 1000
                case ["listens", protocol, where]:
                    address, _, port = where.rpartition(":")
                    found.listens.add((protocol, address.strip("[]").partition("%")[0], int(port)))
                case ["answers" | "refuses", where]:
                    found.answers.add(where)
                case ["policy", "drop"]:
                    found.drops = True
            if line.startswith(_MARK):
                told = json.loads(line.removeprefix(_MARK))
                found.nodes = {address: (cpus, gpus) for address, (cpus, gpus) in told["nodes"].items()}
                found.slots = [(address, gpu) for address, gpu in told["slots"]]
        return found


async def examine(trial: Trial, run: Run, limit_seconds: int = LIMIT_SECONDS) -> Acceptance:
    """Try all hosts at once and judge. What `run` raises for a host that cannot be asked, passes."""
    timeout = limit_seconds + _GRACE_SECONDS
    jobs = [
        run(member.name, _command(trial, n, limit_seconds), stdin=_slots() if n == 0 else "", timeout_seconds=timeout)
        for n, member in enumerate(trial.members)
    ]
    answers = await asyncio.gather(*jobs)
    found = {
        member.name: Findings.parse(answer.stdout, answer.stderr)
        for member, answer in zip(trial.members, answers, strict=True)
    }
    return judge(trial, found)


def judge(trial: Trial, found: Mapping[str, Findings]) -> Acceptance:
    """Compare what was found with what was booked."""
    head = found[trial.members[0].name]
    answering = {where for one in found.values() for where in one.answers}
    checks = tuple(
        check
        for member in trial.members
        for check in (
            _mesh(trial, member, found[member.name]),
            *_closed(member, found[member.name], answering),
            _ray(member, head),
            _gpus(member, head),
        )
    )
    times = [time for one in found.values() for time in one.reached.values()]
    return Acceptance(checks=checks, worst_rtt_ns=max(times, default=None))


def _mesh(trial: Trial, member: Member, found: Findings) -> Check:
    others = [other for other in trial.members if other is not member]
    missing = [other.name for other in others if other.mesh_address not in found.reached]
    return Check(
        name="mesh",
        host=member.name,
        ok=not missing,
        expected=f"reaches {len(others)} hosts over the mesh",
        found=f"does not reach {', '.join(missing)}" if missing else f"reaches {len(others)}",
    )


def _closed(member: Member, found: Findings, answering: set[str]) -> Iterator[Check]:
    """Whether the firewall is shut, nothing unexpected listens on the host, and nothing of Ray answers its peers."""
    drops = "drop" if found.drops else "no such policy"
    yield Check(name="firewall", host=member.name, ok=found.drops, expected="input policy drop", found=drops)
    expected = {("tcp", member.ssh_port), *(("udp", port) for port in member.udp_ports)}
    open_ports = {(kind, port) for kind, address, port in found.listens if not _is_loopback(address)}
    of_ray = [f"{kind} {port}" for kind, port in sorted(open_ports - expected) if port in _SHUT]
    missing = [f"{kind} {port} missing" for kind, port in sorted(expected - open_ports)]
    others = [f"{kind} {port}" for kind, port in sorted(open_ports - expected) if port not in _SHUT]
    shut = "; behind the firewall: " + ", ".join(others) if others else ""
    yield Check(
        name="listeners",
        host=member.name,
        ok=not (of_ray or missing or (others and not found.drops)),
        expected="SSH and WireGuard, nothing of Ray",
        found=(", ".join(missing + of_ray) or "SSH and WireGuard") + shut,
    )
    loud = sorted(where for where in answering if where.rpartition(":")[0] == member.address)
    found_loud = f"{', '.join(loud)} answers" if loud else "silence"
    yield Check(name="silence", host=member.name, ok=not loud, expected="no answer to its peers", found=found_loud)


def _ray(member: Member, head: Findings) -> Check:
    wished, node = (member.cpus, len(member.gpus)), head.nodes.get(member.mesh_address)
    alive = f"{node[0]} CPUs, {node[1]} GPUs" if node else "no living node"
    return Check(
        name="ray",
        host=member.name,
        ok=node == wished,
        expected=f"{wished[0]} CPUs, {wished[1]} GPUs",
        found=alive if head.nodes or not head.trouble else f"no answer from Ray: {head.trouble}",
    )


def _gpus(member: Member, head: Findings) -> Check:
    ran = [gpu for address, gpu in head.slots if address == member.mesh_address]
    missing = [gpu for gpu in member.gpus if gpu not in ran]
    foreign = [gpu or "none" for gpu in ran if gpu not in member.gpus]
    wrong = [f"no task on {gpu}" for gpu in missing] + [f"a task on {gpu}" for gpu in foreign]
    return Check(
        name="gpus",
        host=member.name,
        ok=not wrong,
        expected=f"a task on each of {len(member.gpus)} GPUs",
        found=", ".join(wrong) or f"a task on each of {len(member.gpus)}",
    )


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _command(trial: Trial, number: int, limit_seconds: int) -> str:
    """Return what member `number` is asked; it knocks at its neighbour's ports, so that each is knocked at once."""
    member, count = trial.members[number], len(trial.members)
    neighbour = trial.members[(number + 1) % count]
    mesh = [
        f"{other.mesh_address}:{ports.NODE_MANAGER if place else ports.GCS}"
        for place, other in enumerate(trial.members)
        if other is not member
    ]
    shut = [f"{neighbour.address}:{port}" for port in _SHUT] if count > 1 else []
    socket = engine_socket(trial.booking)
    words = shlex.join(["outside", socket, str(limit_seconds), *mesh, "--", *shut])
    script = shlex.quote((_TEMPLATES / "trial.sh").read_text())
    text = f'export script={script}\nbash -c "$script" {words} </dev/null & '
    if number == 0:
        text += _driver(trial, socket, limit_seconds)
    return f"{text}\nwait"


def _driver(trial: Trial, socket: str, limit_seconds: int) -> str:
    """Return the command that runs `slots.py` (on standard input) in the head's container."""
    plan = {
        "address": f"{trial.members[0].mesh_address}:{ports.GCS}",
        "nodes": [member.mesh_address for member in trial.members],
        "slots": sum(len(member.gpus) for member in trial.members),
        "limit_seconds": limit_seconds,
    }
    words = ["docker", "-H", f"unix://{socket}", "exec", "-i", "ray", "python3", "-", json.dumps(plan)]
    return f"timeout {limit_seconds + _GRACE_SECONDS // 2} {shlex.join(words)}"


def _slots() -> str:
    return (_TEMPLATES / "slots.py.in").read_text()
