"""Jobs for lab hosts, through the worker as the stack uses it."""

import asyncio
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from provision.lab.lab import Lab
from stacks.worker import Connection, Done, Job, Step, WorkerClient

T = TypeVar("T")
COMMAND = (sys.executable, "-m", "provision.deploys.worker")
ROLES = ("identity", "baseline", "engine", "firewall")
LIMIT_SECONDS = 240


class Hosts:
    """The hosts of a lab, and what the roles want of them."""

    def __init__(self, lab: Lab, place: Path) -> None:
        inventory = yaml.safe_load(lab.status().inventory.read_text())["all"]
        self._hosts: dict[str, dict[str, object]] = inventory["children"]["lab"]["hosts"]
        self._registry = {
            "address": inventory["vars"]["timelock_registry"],
            "ca_pem": Path(inventory["vars"]["timelock_registry_ca_file"]).read_text(),
        }
        self._known_hosts = place / "known_hosts"
        lines = [f"{host['ansible_host']} {host['timelock_host_key']}\n" for host in self._hosts.values()]
        self._known_hosts.write_text("".join(lines))

    @property
    def names(self) -> list[str]:
        return list(self._hosts)

    def connection(self, host: str) -> Connection:
        variables = self._hosts[host]
        return Connection(
            address=str(variables["ansible_host"]),
            key_file=str(variables["ansible_ssh_private_key_file"]),
            known_hosts_file=str(self._known_hosts),
        )

    def job(self, verb: str, host: str, role: str, booking: str = "demo", slot: int = 0) -> Job:
        params = {"booking": booking, **self._params(role, host, booking, slot)}
        return Job(
            verb=verb, host=host, connection=self.connection(host), role=role, params=params, timeout_seconds=120
        )

    def command(self, host: str, text: str, *, connection: Mapping[str, Any] = {}) -> Job:
        where = replace(self.connection(host), **connection)
        return Job(verb="run", host=host, connection=where, params={"command": text}, timeout_seconds=60)

    def _params(self, role: str, host: str, booking: str, slot: int) -> Mapping[str, object]:
        others = [str(other["ansible_host"]) for name, other in self._hosts.items() if name != host]
        user = f"tl-{booking}"
        params: dict[str, Mapping[str, object]] = {
            "identity": {"planes": [0]},
            "baseline": {
                "user": user,
                "subid_start": 1_000_000_000 + slot * 65536,
                "packages": ["nftables"],
                "sysctls": {"net.core.somaxconn": "4097"},
            },
            "engine": {"slot": slot, "user": user, "registry": self._registry, "prefetch": []},
            "firewall": {
                "management": self._hosts[host]["timelock_management"],
                "peers": others,
                "udp_ports": [51820 + 3 * slot],
            },
        }
        return params[role]


async def each(client: WorkerClient, jobs: Sequence[Job], steps: list[Step] | None = None) -> list[Done]:
    """Submit jobs one after another."""
    return [await client.submit(job, None if steps is None else steps.append) for job in jobs]


def with_worker(work: Coroutine[object, object, T]) -> T:
    """Run to the end, within a limit."""
    return asyncio.run(asyncio.wait_for(work, LIMIT_SECONDS))


async def start() -> WorkerClient:
    return await WorkerClient.start(COMMAND)
