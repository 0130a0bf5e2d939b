"""Every point by itself, on three hosts; the table that comes of it is docs/crash-matrix.md.

A booking is killed once while it is made and once while it is given back: between the two all has agreed, so that each
kill stands for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

import pytest

from tests.crash.conftest import Make
from tests.crash.controller import REPOSITORY, Command
from tests.crash.points import BOOK, RELEASE, Point
from tests.crash.subject import Subject

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1800)]

HOSTS = 3
PAIRS = list(zip_longest(BOOK, RELEASE))
TABLE = REPOSITORY / "docs" / "crash-matrix.md"
HEAD = """\
# The crash matrix

`kill -9` of the whole controller (command, runner, Pulumi CLI, provider, workers: one `cgroup.kill`), once at each of
{count} points, on {hosts} lab hosts. Points are steps, not times.

- After each kill: arrows legal, claims those of the Plan, lock free.
- After `resume`: ledger, Plan, Pulumi's state (7 resources a host, nothing pending) and hosts agree, `drift` finds
  nothing, no orphan is left.
- After `release`: the hosts are as before; nothing is left of the booking's secrets and of its state.

Made by `make test-full` (`tests/crash/test_matrix.py`). The seconds are those of a shared machine with 2 cores.

| in | killed at | standing at | went on with | seconds | verdict |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kill after which all came to agree."""

    command: str
    point: Point
    where: str
    by: str
    seconds: float = 0.0

    def __str__(self) -> str:
        cells = (self.command, self.point.name, self.where, f"`{self.by}`", f"{self.seconds:.0f}", "all agree")
        return f"| {' | '.join(cells)} |"


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    found: list[Row] = []
    yield found
    found.sort(key=lambda row: (row.command, (*BOOK, *RELEASE).index(row.point)))
    count = len(BOOK) + len(RELEASE)
    if len(found) == count:
        TABLE.write_text(HEAD.format(count=count, hosts=HOSTS) + "".join(f"{row}\n" for row in found))


@pytest.mark.parametrize(("book", "release"), PAIRS, ids=lambda point: point.name if point else "none")
def test_killed_once(subject: Make, rows: list[Row], book: Point, release: Point | None) -> None:
    one = subject(HOSTS)
    where = one.kill(one.book(book.halt), book)
    rows.append(_goes_on(one.resume, one.agrees, one, Row(command="book", point=book, where=where, by="resume")))
    if release:
        where = one.kill(one.release(release.halt), release)
        row = Row(command="release", point=release, where=where, by="release")
        rows.append(_goes_on(one.release, one.is_gone, one, row))
    else:
        one.succeeds(one.release())
        one.is_gone()


def _goes_on(start: Callable[[], Command], agrees: Callable[[], None], one: Subject, row: Row) -> Row:
    """Follow the booking to where the killed command was to bring it."""
    began = time.monotonic()
    one.succeeds(start())
    seconds = time.monotonic() - began
    agrees()
    return replace(row, seconds=seconds)
