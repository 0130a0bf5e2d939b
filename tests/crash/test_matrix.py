"""Every point by itself, on three hosts; the table that comes of it is docs/crash-matrix.md.

A booking is killed once while it is made and once while it is given back: between the two all has agreed, so that each
kill stands for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

import pytest

from tests.crash.conftest import Make
from tests.crash.controller import REPOSITORY, Command
from tests.crash.points import BOOK, RELEASE, Point
from tests.crash.subject import Subject

HOSTS = 3
EVERY = [*(("book", point.name) for point in BOOK), *(("release", point.name) for point in RELEASE)]
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
    seconds: float

    def __str__(self) -> str:
        cells = (self.command, self.point.name, self.where, f"`{self.by}`", f"{self.seconds:.0f}", "all agree")
        return f"| {' | '.join(cells)} |"


def read_table() -> dict[tuple[str, str], str]:
    """The rows of the table, by command and point."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    cells = [(line, [cell.strip() for cell in line.split("|")]) for line in lines if line.startswith("| ")]
    return {(each[1], each[2]): line for line, each in cells if each[1] != "in"}


def write_table(row: Row | None = None, *, without: tuple[str, str] | None = None) -> None:
    """Enter a row, or take one out; the others stay: points can be run one by one."""
    rows = read_table()
    if row:
        rows[row.command, row.point.name] = str(row)
    if without:
        rows.pop(without, None)
    lines = [f"{rows[place]}\n" for place in EVERY if place in rows]
    TABLE.write_text(HEAD.format(count=len(EVERY), hosts=HOSTS) + "".join(lines))


@pytest.mark.lab
@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("book", "release"), PAIRS, ids=lambda point: point.name if point else "none")
def test_killed_once(subject: Make, book: Point, release: Point | None) -> None:
    one = subject(HOSTS)
    goes_on("book", book, one, one.book, one.resume, one.agrees)
    if release:
        goes_on("release", release, one, one.release, one.release, one.is_gone)
    else:
        one.succeeds(one.release())
        one.is_gone()


def goes_on(
    command: str,
    point: Point,
    one: Subject,
    start: Callable[[str], Command],
    again: Callable[[], Command],
    agrees: Callable[[], None],
) -> None:
    """Kill the command at the point, follow the booking to where it was to be brought, and note that down."""
    write_table(without=(command, point.name))
    where = one.kill(start(point.halt), point)
    began = time.monotonic()
    one.succeeds(again())
    seconds = time.monotonic() - began
    agrees()
    write_table(Row(command=command, point=point, where=where, by=again.__name__, seconds=seconds))


@pytest.mark.full
def test_the_table_tells_of_every_point() -> None:
    assert set(read_table()) == set(EVERY)
