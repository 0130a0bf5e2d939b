"""A timelock command with all it starts, in a control group of their own: followed step by step, and killed at once."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from provision.home import Home
from provision.lab.cgroups import Group, hierarchies
from tests.fakes.wait import parent, until

REPOSITORY = Path(__file__).parents[2]
LIMIT_SECONDS = 400.0
POLL_SECONDS = 0.002
NUMBERS = itertools.count(1)
ENTER = 'echo 0 > "$0" && exec "$@"'

WORDS = {
    "cli": "-m tests.crash.halting",
    "runner": "-m stacks.runner",
    "pulumi": "pulumi --non-interactive",
    "provider": "pulumi-resource-timelock",
    "worker": "-m provision.deploys.worker",
}
"""What the processes of a command are known by."""

Line = Mapping[str, Any]


@dataclass(frozen=True)
class News:
    """What is new since one last looked: lines of the journal and on standard error; and whether there is a stack."""

    journal: tuple[Line, ...]
    said: tuple[str, ...]
    stack: bool


class Follower:
    """Reads whole lines that are added to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def lines(self) -> Iterator[str]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
            self._offset += len(whole + newline)
        yield from whole.decode(errors="replace").splitlines()


class Command:
    """`timelock WORDS…` for the booking `name`; leaving the block kills what is left of it."""

    def __init__(self, home: Home, folder: Path, name: str, *words: str, halt: str = "") -> None:
        self.words = " ".join(("timelock", *words))
        self._group = Group(name=f"timelock-crash-{os.getpid()}-{next(NUMBERS)}", hierarchies=hierarchies()[:1])
        self._group.create()
        self._said = folder / f"{self._group.name}.log"
        self._journal = Follower(home.booking(name).journal)
        self._stack = home.root / "pulumi/.pulumi/stacks/timelock" / f"{name}.json"
        self._errors = Follower(self._said)
        (entrance,) = self._group.procs_files()
        with self._said.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", ENTER, str(entrance), sys.executable, "-m", "tests.crash.halting", halt, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env={**os.environ, "TIMELOCK_HOME": str(home.root), "TIMELOCK_CACHE": str(home.cache)},
            )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        self._group.remove()

    def follow(self, reached: Callable[[News], str]) -> str:
        """Follow it until `reached` names where it stands, and return that; empty if it ended before."""
        limit = time.monotonic() + LIMIT_SECONDS
        while True:
            ended = self._process.poll() is not None
            journal = tuple(json.loads(line) for line in self._journal.lines() if line)
            said, stack = tuple(self._errors.lines()), self._stack.exists()
            if where := reached(News(journal=journal, said=said, stack=stack)):
                return where
            if ended:
                return ""
            assert time.monotonic() < limit, f"{self.words}: expected its end or another step:\n{self.text}"
            time.sleep(POLL_SECONDS)

    def status(self) -> int:
        """Wait for its end; give its status. It must take along everything that it started."""
        assert self.follow(lambda news: "") == ""
        assert not self._group.alive(), f"{self.words} has left processes: {self.processes()}"
        return self._process.wait()

    def kill(self) -> None:
        """SIGKILL to every one of its processes, at one instant."""
        self._group.kill()
        self._process.wait()

    def kill_one(self, victim: str) -> None:
        """SIGKILL to one of its processes: cli, runner, pulumi, provider, worker (the server) or child (of a host)."""
        os.kill(self._pid_of(victim), signal.SIGKILL)

    def ends(self) -> int:
        """Wait until the last of its processes has ended by itself; give the command's status."""
        until(lambda: self._process.poll() is not None and not self._group.alive(), f"the end of {self.words}", 120)
        return self._process.wait()

    def processes(self) -> dict[int, str]:
        """Its processes: pid → command line."""
        found = {}
        for pid in map(int, (self._group.unified / "cgroup.procs").read_text().split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            found[pid] = words
        return found

    def _pid_of(self, victim: str) -> int:
        found = self.processes()
        workers = [pid for pid, words in found.items() if words.endswith(WORDS["worker"])]
        children = [pid for pid in workers if parent(pid) in workers]
        if victim == "child":
            return children[-1]
        candidates = workers if victim == "worker" else [pid for pid, words in found.items() if WORDS[victim] in words]
        return next(pid for pid in candidates if pid not in children)

    @property
    def text(self) -> str:
        """All that it has said."""
        return self._said.read_text(errors="replace")
