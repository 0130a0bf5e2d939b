"""A booking on lab hosts, as its tests look at it and damage it: by SSH, beside Timelock."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provision.booking.ledger import Ledger
from provision.booking.model import Claim
from provision.booking.records import plan_of
from provision.deploys.places import engine_socket
from provision.lab.lab import Lab
from tests.fakes.cli import Cli, Ran

SSH = Callable[..., str]
IMAGE = "timelock/ray:2.60-py311"
PORT = 51820


@dataclass(frozen=True)
class Demo:
    """The booking `demo`, over three of the lab's hosts, as it stands when asked."""

    name: str
    lab: Lab
    timelock: Cli
    request: Path
    run: SSH

    def status(self) -> Any:
        return self.timelock.json("status", self.name)

    @property
    def state(self) -> str:
        """The state that the ledger has, or '' for a booking that never was."""
        with Ledger(self.timelock.home.ledger_url) as ledger:
            booking = ledger.find(self.name)
        return str(booking.state) if booking else ""

    @property
    def hosts(self) -> list[str]:
        """Its hosts, head first."""
        with Ledger(self.timelock.home.ledger_url) as ledger:
            return [planned.host.name for planned in plan_of(ledger.booking(self.name)).hosts]

    def claims(self) -> tuple[Claim, ...]:
        """The GPUs that it holds, and for how long."""
        with Ledger(self.timelock.home.ledger_url) as ledger:
            return ledger.claims(ledger.booking(self.name).id)

    @property
    def live(self) -> bool:
        """Whether it holds hosts."""
        return self.state not in ("", "RELEASED", "FAILED")

    @property
    def spare(self) -> str:
        """A host of the lab that it does not hold."""
        held = self.hosts if self.live else []
        return next(host.name for host in self.lab.hosts if host.name not in held)

    def book(self, code: int = 0) -> Ran:
        return self.timelock("book", self.request, "--yes", "--no-serve", code=code)

    def on(self, host: str, line: str) -> str:
        """Run a line of shell on a host, past Timelock."""
        return self.run(self.lab, host, line)

    def inside(self, host: str, *words: str, container: str = "ray") -> str:
        """Run a command in a container of the booking."""
        return self.on(host, f"{self.docker} exec {container} {shlex.join(words)}")

    def in_mesh(self, host: str, line: str) -> str:
        """Run a line of shell in the booking's network namespace."""
        pid = f"$({self.docker} inspect -f '{{{{.State.Pid}}}}' pause)"
        return self.on(host, f"nsenter -t {pid} -n sh -c {shlex.quote(line)}")

    def submit(self, program: str, code: int = 0) -> str:
        """Run a Python program on the cluster's head; what it printed."""
        return self.timelock("submit", self.name, "--", "python", "-c", program, code=code).out

    def containers(self) -> dict[tuple[str, str], str]:
        """Each host's containers that run, and their ids."""
        tell = f"{self.docker} ps --no-trunc --format '{{{{.Names}}}} {{{{.ID}}}}'"
        lines = [(host, *line.split()) for host in self.hosts for line in self.on(host, tell).splitlines()]
        return {(host, name): identity for host, name, identity in lines}

    def events(self) -> list[dict[str, str]]:
        """What happened so far."""
        found: list[dict[str, str]] = self.timelock.json("events", self.name)["events"]
        return found

    def drift(self) -> list[tuple[str, str, str]]:
        """What `timelock drift` names: host, role, what."""
        ran = self.timelock("drift", self.name, "--json", code=None)
        found = [(item["host"], item["role"], item["what"]) for item in json.loads(ran.out)["drift"]]
        ran.expect(1 if found else 0)
        return found

    @property
    def docker(self) -> str:
        return f"docker -H unix://{engine_socket(self.name)}"


def write_request(folder: Path, name: str, *, count: int, hosts: int, **changes: object) -> Path:
    """Write a request for that many GPUs."""
    request = {
        "name": name,
        "gpu": {"model": "H100", "count": count, "hosts": hosts},
        "window": {"start": "now", "duration": "2h"},
        "image": IMAGE,
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(request))
    return path


def write_inventory(folder: Path, lab: Lab, hosts: Mapping[str, Mapping[str, object]], **shared: object) -> Path:
    """Write the lab's inventory with only these hosts, each with changed variables."""
    content = yaml.safe_load(lab.inventory_file.read_text())
    known = content["all"]["children"]["lab"]["hosts"]
    content["all"]["children"]["lab"]["hosts"] = {
        name: {**known.get(name, next(iter(known.values()))), **changes} for name, changes in hosts.items()
    }
    content["all"]["vars"] |= shared
    path = folder / "inventory.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
