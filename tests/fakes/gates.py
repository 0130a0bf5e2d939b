"""A place to test gates at: a control group of its own, a node of a device that opens, and processes that open it."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.gate import mounts, objects
from agent.gate.device import DeviceRange
from agent.gate.event import Event, Mode, Settings
from agent.gate.gate import PINS, Gate, GateConfig, now_ns
from tests.fakes.wait import until

OPENER = Path(__file__).with_name("opener.py")
CONSOLES = DeviceRange(major=7, first=0, last=7)
LIMIT_SECONDS = 120
LEASE_NS = 300_000_000_000


@dataclass(slots=True)
class Opener:
    """A process that runs `opener.py`; `said` are the lines it wrote so far."""

    process: subprocess.Popen[str]
    said: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def hear(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"opener {self.pid} ended with {self.process.wait()} without a word"
        self.said.append(json.loads(line))
        return self.said[-1]

    def end(self) -> int:
        """Let it end, and give its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.said += map(json.loads, self.process.stdout)  # not communicate(): it skips what hear() has read ahead
        self.process.stdout.close()
        return self.process.wait(LIMIT_SECONDS)


class Place:
    """The group is removed at the end, with those below it and all processes in them."""

    def __init__(self, *, root: Path, name: str, folder: Path, minor: int) -> None:
        self.cgroup = root / name
        self.cgroup.mkdir()
        self.folder = folder
        self.minor = minor
        self.node = self.make_node("gpu")
        self._running: list[subprocess.Popen[str]] = []

    def group(self, *names: str) -> Path:
        """Make a group below ours."""
        path = self.cgroup.joinpath(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def config(self, mode: Mode = Mode.OBSERVE, **more: Any) -> GateConfig:
        """A gate over the consoles at our group."""
        settings = Settings(mode=mode, lease_until_ns=now_ns() + LEASE_NS)
        return GateConfig(**{"devices": (CONSOLES,), "settings": settings, "cgroup": self.cgroup, **more})

    @contextlib.contextmanager
    def gate(self, mode: Mode = Mode.OBSERVE, **more: Any) -> Iterator[Gate]:
        gate = Gate.open(self.config(mode, **more))
        try:
            yield gate
        finally:
            gate.close(detach=True)

    def start(self, way: str, *arguments: str | Path, before: tuple[str, ...] = (), **where: Path) -> Opener:
        """Start an opener: `cgroup` and `node` may be others than the place's; `before` is a command that runs it."""
        cgroup, node = where.get("cgroup", self.cgroup), where.get("node", self.node)
        words = [*before, sys.executable, "-SE", OPENER, cgroup, node, way, *arguments]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._running.append(process)
        return Opener(process)

    def run(self, way: str, *arguments: str | Path, **where: Path) -> Opener:
        """Run an opener to its end."""
        opener = self.start(way, *arguments, **where)
        opener.end()
        return opener

    def make_node(self, name: str) -> Path:
        """Make another node of the same device."""
        path = self.folder / name
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(CONSOLES.major, self.minor))
        return path

    def close(self) -> None:
        """Remove what is left: processes, pins of the group's name, groups."""
        if (pins := mounts.bpf_root() / PINS / self.cgroup.name).exists():
            objects.remove(pins)
        (self.cgroup / "cgroup.kill").write_text("1")
        for process in self._running:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        until(lambda: "populated 0" in (self.cgroup / "cgroup.events").read_text(), "an empty group")
        for folder in sorted(self.cgroup.rglob("*/"), reverse=True):
            if folder.is_dir():
                folder.rmdir()
        self.cgroup.rmdir()


def of_pid(events: list[Event], pid: int) -> list[Event]:
    return [event for event in events if event.opening.pid == pid]
