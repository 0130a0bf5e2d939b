"""A booking that is made, killed, and gone on with; and whether ledger, Plan, Pulumi's state and hosts agree on it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.booking.desk import Desk
from provision.booking.ledger import Ledger
from provision.booking.lock import holder
from provision.booking.model import ARROWS, Booking, BookingState
from provision.booking.records import plan_of
from provision.booking.stack import run_stack
from provision.lab.lab import Lab
from stacks.roles import BY_NAME, of_urn
from tests.crash.controller import Command
from tests.crash.points import Point
from tests.fakes.snapshot import Run, Snapshot, snapshot

REQUEST = """\
name: {name}
gpu: {{model: H100, count: {gpus}, hosts: {hosts}}}
window: {{start: now, duration: 2h}}
image: timelock/ray:2.60-py311
"""
GPUS_PER_HOST = 2
STATES = frozenset(map(str, BookingState))
BEFORE_PLAN = {BookingState.REQUESTED}
LOOSE = {BookingState.REQUESTED, BookingState.PLANNED, BookingState.SETTLED, BookingState.RELEASED}
STANDING = r"""
docker -H unix:///run/timelock/{name}.sock ps -a --format '{{{{.Names}}}} {{{{.State}}}}' | sort
ls /run/timelock | grep -c '\.sock$'
pgrep -fc ': timelock-[0-9a-f]{{16}}' || :
"""
# Debian keeps it once it was made, as it does logs.
KEPT = (": /var/log", ": /var/lib/systemd", ": /var/cache", ": /var/lib/dpkg", ": /var/lib/apt")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The booking `name` on hosts of a lab."""

    lab: Lab
    ssh: Run
    folder: Path
    name: str
    hosts: int
    before: dict[str, Snapshot] = field(default_factory=dict)

    def remember(self) -> None:
        """Look at the hosts before anything is booked."""
        self.before.update({host.name: snapshot(self.lab, host.name, self.ssh) for host in self.lab.hosts})

    def book(self, halt: str = "") -> Command:
        request = self.folder / f"{self.name}.yaml"
        request.write_text(REQUEST.format(name=self.name, hosts=self.hosts, gpus=self.hosts * GPUS_PER_HOST))
        inventory = str(self.lab.inventory_file)
        return self._run("book", str(request), "--yes", "--no-serve", "--inventory", inventory, halt=halt)

    def resume(self, halt: str = "") -> Command:
        return self._run("resume", self.name, halt=halt)

    def release(self, halt: str = "") -> Command:
        return self._run("release", self.name, "--yes", halt=halt)

    def lose_state(self) -> None:
        """Forget all that Pulumi knew of the booking."""
        for path in (self.lab.home.root / "pulumi").rglob(f"{self.name}*.json*"):
            path.unlink()

    def kill(self, command: Command, point: Point) -> str:
        """Kill the command at the point; say what it was doing. What is left must make sense by itself."""
        with command:
            where = command.follow(point.reached)
            assert where, f"{command.words}: expected it to come to {point.name!r}, it ended before:\n{command.text}"
            command.kill()
        self.makes_sense()
        return where

    def succeeds(self, command: Command) -> str:
        with command:
            status = command.status()
            assert status == 0, f"{command.words}: expected 0, found {status}:\n{command.text}"
            return command.text

    def makes_sense(self) -> None:
        """What must hold at every instant: arrows are legal, claims are the Plan's, nobody holds the lock."""
        with Ledger(self.lab.home.ledger_url) as ledger:
            booking = ledger.booking(self.name)
            events = [event.line for event in ledger.events(booking.id) if event.line.target == self.name]
            claimed = Counter(claim.gpu_uuid for claim in ledger.claims(booking.id))
        for line in events:
            if line.old in STATES and line.new in STATES:
                assert BookingState(line.new) in ARROWS[BookingState(line.old)], line
        assert events[-1].new == booking.state
        planned = set() if booking.state in BEFORE_PLAN else _gpus(booking)
        assert set(claimed) <= planned
        assert booking.state in LOOSE or set(claimed) == planned
        assert holder(self.lab.home.booking(self.name).lock) is None

    def agrees(self) -> None:
        """The booking is ACTIVE, and ledger, Plan, state and hosts say the same of it."""
        self.makes_sense()
        with Ledger(self.lab.home.ledger_url) as ledger:
            booking = ledger.booking(self.name)
            assert booking.state is BookingState.ACTIVE
            assert {claim.gpu_uuid for claim in ledger.claims(booking.id)} == _gpus(booking)
            assert not ledger.quarantined()
            desk = Desk(home=self.lab.home, ledger=ledger, actor="test")
            deployment: Any = run_stack(desk, booking, "export").outputs["deployment"]
        hosts = {planned.host.name for planned in plan_of(booking).hosts}
        assert len(hosts) == self.hosts
        assert _resources(deployment) == Counter((host, role) for host in hosts for role in BY_NAME)
        assert not deployment.get("pending_operations")
        assert json.loads(self._drift()) == {"v": 1, "name": self.name, "drift": []}
        for host in hosts:
            assert self.ssh(self.lab, host, STANDING.format(name=self.name)) == "pause running\nray running\n1\n0\n"

    def is_gone(self) -> None:
        """The booking is RELEASED, and nothing of it is left: here, in Pulumi's state, on the hosts."""
        self.makes_sense()
        home = self.lab.home
        with Ledger(home.ledger_url) as ledger:
            booking = ledger.booking(self.name)
            assert booking.state is BookingState.RELEASED
            assert not ledger.claims(booking.id)
            assert not ledger.quarantined()
        place = home.booking(self.name)
        kept = {place.request, place.plan, place.inventory, place.registry_ca, place.pause_image, place.mesh_indices}
        assert set(place.root.iterdir()) <= {*kept, place.journal, place.lock}
        assert [path for path in (home.root / "pulumi").rglob(f"{self.name}*") if not _is_empty(path)] == []
        for host, before in self.before.items():
            left = _left(before.difference(snapshot(self.lab, host, self.ssh)))
            assert left == [], f"{host}: {left}"

    def _drift(self) -> str:
        with self._run("drift", self.name, "--json") as command:
            command.status()
            return command.text

    def _run(self, *words: str, halt: str = "") -> Command:
        return Command(self.lab.home, self.folder, self.name, *words, halt=halt)


def _gpus(booking: Booking) -> set[str]:
    return {gpu.uuid for planned in plan_of(booking).hosts for gpu in planned.gpus}


def _resources(deployment: Any) -> Counter[tuple[str, str]]:
    return Counter(place for resource in deployment["resources"] if (place := of_urn(resource["urn"])) != ("", ""))


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(each.is_file() for each in path.rglob("*"))


def _left(difference: list[str]) -> list[str]:
    return [line for line in difference if not any(kept in line for kept in KEPT)]
