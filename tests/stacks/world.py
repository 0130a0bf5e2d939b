"""A booking's stack in a temporary directory: real engine, real CLI, real provider, hosts that are directories."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import pytest

from stacks.booking import BookingSpec
from stacks.engine import Outcome, StackPlace, find_pulumi, operate
from stacks.errors import EngineFailed
from tests.fakes.hosts import FakeHosts
from tests.fakes.wait import descendants
from tests.stacks.conftest import booking_spec

OPERATE = Path(__file__).parent.parent / "fakes" / "operate.py"
MESH_SECRET = b"m" * 32
PROCESSES = {"runner": "stacks.runner", "provider": "pulumi-resource-timelock", "worker": "worker.py", "cli": "pulumi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    root: Path
    spec: BookingSpec
    place: StackPlace
    hosts: FakeHosts

    @classmethod
    def make(cls, root: Path, hosts: int = 2) -> World:
        (root / "passphrase").write_text("a passphrase")
        (root / "mesh.secret").write_bytes(MESH_SECRET)
        fakes = FakeHosts.make(root / "hosts")
        place = StackPlace(
            work_dir=str(root / "work"),
            backend_url=f"file://{root}/state",
            pulumi_home=str(root / "pulumi-home"),
            passphrase_file=str(root / "passphrase"),
            mesh_secret_file=str(root / "mesh.secret"),
            journal=str(root / "journal.jsonl"),
            worker=fakes.argv,
            pulumi=_pulumi(),
        )
        return cls(root=root, spec=booking_spec(hosts), place=place, hosts=fakes)

    def do(self, operation: str, **options: bool) -> Outcome:
        return operate(operation, self.spec, self.place, lambda _: None, **options)

    def up(self) -> Outcome:
        outcome = self.do("up")
        assert outcome.failures == ()
        return outcome

    def of(self, spec: BookingSpec) -> World:
        """The same world with another spec of the booking."""
        return replace(self, spec=spec)

    def journal(self, event: str) -> list[dict[str, object]]:
        lines = (json.loads(line) for line in Path(self.place.journal).read_text().splitlines())
        return [line for line in lines if line["event"] == event]

    def urns(self) -> list[str]:
        """The URNs of all roles in the state, in which nothing may be pending."""
        deployment = self.do("export").outputs["deployment"]
        assert isinstance(deployment, dict)
        assert not deployment.get("pending_operations")
        return [r["urn"] for r in deployment["resources"] if r["type"].startswith("timelock:host:")]


def names(outcome: Outcome) -> list[str]:
    return [change.resource for change in outcome.changes]


class Operating:
    """An operation in a process of its own, with all the processes below it; none is left after the block."""

    def __init__(self, operation: str, world: World) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(OPERATE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        asked = {"operation": operation, "spec": world.spec.encode(), "place": asdict(world.place)}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait(60)

    def await_step(self, host: str, role: str) -> None:
        for line in self._lines():
            event = json.loads(line)
            if (event.get("kind"), event.get("host"), event.get("role")) == ("step", host, role):
                return
        raise AssertionError(f"expected a step of {role} on {host}, found the end of the operation")

    def interrupted(self) -> bool:
        return bool(json.loads(list(self._lines())[-1])["outcome"]["interrupted"])

    def pids(self) -> dict[str, int]:
        """The processes by what they are."""
        found = {"operate": self.process.pid}
        for pid in descendants(self.process.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            for name, mark in PROCESSES.items():
                if any(word.endswith(mark) for word in words):
                    found.setdefault(name, pid)
                    break
        return found

    def kill(self, *victims: str) -> None:
        """Kill -9 these, or everything at once."""
        for name, pid in self.pids().items():
            if not victims or name in victims:
                with contextlib.suppress(ProcessLookupError):  # one ends by itself when another is killed
                    os.kill(pid, signal.SIGKILL)

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        return iter(self.process.stdout)


def _pulumi() -> str:
    home = Path(os.environ.get("TIMELOCK_HOME") or "/var/lib/timelock")
    try:
        return str(find_pulumi(Path(os.environ.get("TIMELOCK_CACHE") or home / "cache") / "tools"))
    except EngineFailed as error:
        pytest.skip(f"{error.message}; {error.next_step}")
