"""A timelock command with all the processes it starts, in a control group of their own: followed, and killed at once."""

from __future__ import annotations

import itertools
import json
import os
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

REPOSITORY = Path(__file__).parents[2]
LIMIT_SECONDS = 400.0
POLL_SECONDS = 0.002
NUMBERS = itertools.count(1)
ENTER = 'echo 0 > "$0" && exec "$@"'

Line = Mapping[str, Any]


@dataclass(frozen=True)
class News:
    """What a command has said and done since one last looked: lines of the journal, and lines on standard error."""

    journal: tuple[Line, ...]
    said: tuple[str, ...]


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
        self._errors = Follower(self._said)
        with self._said.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", ENTER, str(self._group.procs_files()[0])]
                + [sys.executable, "-m", "tests.crash.halting", halt, *words],
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
            if where := reached(News(journal=journal, said=tuple(self._errors.lines()))):
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

    def processes(self) -> dict[int, str]:
        """Its processes: pid → command line."""
        found = {}
        for pid in map(int, (self._group.unified / "cgroup.procs").read_text().split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            found[pid] = words
        return found

    @property
    def text(self) -> str:
        """All that it has said."""
        return self._said.read_text(errors="replace")
