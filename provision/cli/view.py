"""What a person sees: a live table of hosts on a terminal, one plain line a step in a pipe, and nothing with --json.

Draws only; what it draws is told to it (`provision.booking.progress`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.booking.progress import HostStep, Phase, Progress
from provision.cli.plain import plain

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

ROLES = ("identity", "baseline", "engine", "firewall", "mesh", "image", "ray")
COLUMNS = (*ROLES, "acceptance")
MARKS = {
    "waiting": ("·", "dim"),
    "start": ("…", "cyan"),
    "changed": ("…", "cyan"),
    "unchanged": ("…", "cyan"),
    "would": ("~", "yellow"),
    "differs": ("~", "yellow"),
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
}
REFRESH_PER_SECOND = 8
LEAST = 12
"""What some words on what a host is at take, in characters."""
ROOMY = 2 + sum(len(role) + 2 for role in COLUMNS) + 2 + LEAST
"""Beside a host's name, what a column for each role and those words take."""
NARROW = 2 + len(COLUMNS) + 2 + 2
"""Beside a host's name, what the marks of the roles take."""


@dataclass(slots=True)
class Board:
    """The state of the live table: the phase, and for each host what each role is doing."""

    title: str
    phase: str = ""
    began: float = field(default_factory=time.monotonic)
    cells: dict[str, dict[str, str]] = field(default_factory=dict)
    now: dict[str, str] = field(default_factory=dict)

    def take(self, event: Progress) -> None:
        """Note one event."""
        if isinstance(event, Phase):
            self.phase = plain(f"{event.name}  {event.detail}".rstrip())
            return
        self.cells.setdefault(event.host, {})[event.role] = event.state
        self.now[event.host] = plain(f"{event.role}: {event.step}") if event.state != "done" else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The table as it stands now, as wide as the terminal has room."""
        from rich.table import Table
        from rich.text import Text

        seconds = time.monotonic() - self.began
        title = Text(f"{self.title}  {seconds:.0f} s  {self.phase}")
        longest = max(map(len, self.cells), default=0)
        narrow = options.max_width < ROOMY + longest
        room = options.max_width - longest - (NARROW if narrow else ROOMY - LEAST)
        table = Table(box=None, title=title, title_justify="left", padding=(0, 1))
        table.add_column("host", style="bold", no_wrap=True, min_width=longest)
        add_role_columns(table, COLUMNS, narrow=narrow)
        table.add_column("now", style="dim", no_wrap=True, overflow="ellipsis")
        for host in sorted(self.cells):
            marks = role_marks(self.cells[host], COLUMNS, narrow=narrow)
            now = Text(self.now.get(host, ""))
            now.truncate(max(LEAST, room), overflow="ellipsis")
            table.add_row(host, *marks, now)
        yield table


def add_role_columns(table: Table, roles: Sequence[str], *, narrow: bool) -> None:
    """A column for each role; on a narrow terminal one for all, in which each has a mark."""
    if narrow:
        table.add_column("roles", no_wrap=True, min_width=len(roles))
        return
    for role in roles:
        table.add_column(role, justify="center", min_width=len(role))


def role_marks(states: Mapping[str, str], roles: Sequence[str], *, narrow: bool) -> list[Text]:
    """The cells for those columns."""
    from rich.text import Text

    found = (MARKS.get(states.get(role, "waiting"), MARKS["start"]) for role in roles)
    marks = [Text(mark, style) for mark, style in found]
    return [Text().join(marks)] if narrow else marks


class View:
    """Where progress is told. On its own it shows nothing, which is what --json wants."""

    def tell(self, event: Progress) -> None:
        """Take one event."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal alone while the block runs, for a question or a table."""
        yield


class LiveView(View):
    """A table on a terminal that is drawn again and again."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._live = self._begun()

    def tell(self, event: Progress) -> None:
        """Note the event; the table is drawn by its own clock."""
        self._board.take(event)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the table off the screen while the block runs."""
        self._live.transient = True
        self._live.stop()
        try:
            yield
        finally:
            self._live = self._begun()

    def end(self) -> None:
        """Leave the table as it stands."""
        self._live.stop()

    def _begun(self) -> Live:
        """A live display below all that was printed; one that was stopped would draw over it."""
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, markup=False)
        live = Live(self._board, console=console, refresh_per_second=REFRESH_PER_SECOND)
        live.start()
        return live


class LineView(View):
    """One plain line for each thing that happened."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, event: Progress) -> None:
        """Write a line, but not for what merely begins or was right already."""
        if isinstance(event, HostStep) and (event.state in {"unchanged", "start"} or event.step in {"same", "refresh"}):
            return
        sys.stderr.write(f"{time.monotonic() - self._began:7.1f} s  {_words(event)}\n")
        sys.stderr.flush()


@contextmanager
def watching(title: str, *, json: bool = False) -> Iterator[View]:
    """Yield the View that fits: live on a terminal, lines in a pipe, nothing with --json."""
    if json:
        yield View()
    elif not sys.stderr.isatty():
        yield LineView()
    else:
        live = LiveView(Board(title=title))
        try:
            yield live
        finally:
            live.end()


def _words(event: Progress) -> str:
    if isinstance(event, Phase):
        return plain(f"{event.name}: {event.detail}" if event.detail else event.name)
    return plain(f"{event.host} {event.role}: {event.step} {event.state}".replace(":  ", ": "))
