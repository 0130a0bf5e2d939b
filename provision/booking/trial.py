"""Judging what the hosts of a booking said when they were tried together. Pure: from printed lines to checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.deploys import ports

if TYPE_CHECKING:
    from stacks.spec import BookingSpec

MARK = "##timelock "
SHUT = (ports.GCS, ports.NODE_MANAGER, ports.DASHBOARD, ports.CLIENT)
"""Ports of Ray that must not answer at a host's own address."""


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
        """Return the trial of a stack's spec: what its hosts were told to be."""
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
    """What one host printed. `trouble` is the end of what it complained of."""

    reached: dict[str, int] = field(default_factory=dict)
    listens: set[tuple[str, str, int]] = field(default_factory=set)
    answers: set[str] = field(default_factory=set)
    drops: bool = False
    nodes: list[tuple[str, int, int]] = field(default_factory=list)
    slots: list[tuple[str, str]] = field(default_factory=list)
    trouble: str = ""

    @classmethod
    def parse(cls, stdout: str, stderr: str = "") -> Findings:
        """Read the lines of `trial.sh`, and on the head the line of `slots.py`."""
        found = cls(trouble=" / ".join(stderr.strip().splitlines()[-3:]))
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
            if line.startswith(MARK):
                told = json.loads(line.removeprefix(MARK))
                found.nodes = [(address, cpus, gpus) for address, cpus, gpus in told["nodes"]]
                found.slots = [(address, gpu) for address, gpu in told["slots"]]
        return found


def judge(trial: Trial, found: Mapping[str, Findings]) -> Acceptance:
    """Compare what was found, by host, with what was booked."""
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
    """Whether the firewall is shut, nothing unexpected listens on the host, and nothing of Ray answers its peers.

    What else a supplier runs on the host may listen, as long as the firewall is in front of it.
    """
    drops = "drop" if found.drops else "no such policy"
    yield Check(name="firewall", host=member.name, ok=found.drops, expected="input policy drop", found=drops)
    expected = {("tcp", member.ssh_port), *(("udp", port) for port in member.udp_ports)}
    listening = {(kind, port) for kind, address, port in found.listens if not _is_loopback(address)}
    extra = sorted(listening - expected)
    wrong = [f"{kind} {port} of Ray" for kind, port in extra if kind == "tcp" and port in SHUT]
    wrong += [f"{kind} {port} missing" for kind, port in sorted(expected - listening)]
    others = [f"{kind} {port}" for kind, port in extra if not (kind == "tcp" and port in SHUT)]
    shut = f"; {'shut' if found.drops else 'open'}: {', '.join(others)}" if others else ""
    yield Check(
        name="listeners",
        host=member.name,
        ok=not wrong and (found.drops or not others),
        expected="SSH and WireGuard, the rest shut",
        found=(", ".join(wrong) or "SSH and WireGuard") + shut,
    )
    loud = sorted(where for where in answering if where.rpartition(":")[0] == member.address)
    found_loud = f"{', '.join(loud)} answers" if loud else "silence"
    yield Check(name="silence", host=member.name, ok=not loud, expected="no answer to its peers", found=found_loud)


def _ray(member: Member, head: Findings) -> Check:
    alive = [(cpus, gpus) for address, cpus, gpus in head.nodes if address == member.mesh_address]
    told = " and ".join(f"{cpus} CPUs, {gpus} GPUs" for cpus, gpus in alive) or "no living Ray node"
    if not head.nodes:
        told = f"no answer from Ray: {head.trouble or 'nothing said'}"
    return Check(
        name="ray",
        host=member.name,
        ok=alive == [(member.cpus, len(member.gpus))],
        expected=f"{member.cpus} CPUs, {len(member.gpus)} GPUs",
        found=told,
    )


def _gpus(member: Member, head: Findings) -> Check:
    ran = [gpu for address, gpu in head.slots if address == member.mesh_address]
    wrong = [f"no task on {gpu}" for gpu in member.gpus if gpu not in ran]
    wrong += [f"a task on {gpu or 'no GPU'}" for gpu in ran if gpu not in member.gpus]
    return Check(
        name="gpus",
        host=member.name,
        ok=not wrong,
        expected=f"a task on each of {len(member.gpus)} GPUs",
        found=", ".join(wrong) or f"a task on each of {len(member.gpus)}",
    )


def _is_loopback(address: str) -> bool:
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"
