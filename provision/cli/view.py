"""What a person sees: a live table of hosts on a terminal, one plain line a step in a pipe, and nothing with --json.

Draws only; what it draws is told to it (`provision.booking.progress`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.booking.progress import HostStep, Phase, Progress

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

ROLES = ("identity", "baseline", "engine", "firewall", "mesh", "image", "ray")
COLUMNS = (*ROLES, "acceptance")
MARKS = {
    "waiting": ("·", "dim"),
    "start": ("…", "cyan"),
    "changed": ("…", "cyan"),
    "unchanged": ("…", "cyan"),
    "would": ("~", "yellow"),
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
}
REFRESH_PER_SECOND = 8


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
            self.phase = f"{event.name}  {event.detail}".rstrip()
            return
        self.cells.setdefault(event.host, {})[event.role] = event.state
        self.now[event.host] = f"{event.role}: {event.step}" if event.state != "done" else ""

    def __rich__(self) -> Table:
        """The table as it stands now."""
        from rich.table import Table

        seconds = time.monotonic() - self.began
        table = Table(
            box=None, title=f"{self.title}  {seconds:.0f} s  {self.phase}", title_justify="left", padding=(0, 1)
        )
        table.add_column("host", style="bold")
        for role in COLUMNS:
            table.add_column(role, justify="center")
        table.add_column("now", style="dim", no_wrap=True, overflow="ellipsis")
        for host in sorted(self.cells):
            marks = (MARKS.get(self.cells[host].get(role, "waiting"), MARKS["start"]) for role in COLUMNS)
            table.add_row(host, *(f"[{style}]{mark}[/]" for mark, style in marks), self.now.get(host, ""))
        return table


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

    def __init__(self, live: Live, board: Board) -> None:
        self._live, self._board = live, board

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
            self._live.transient = False
            self._live.start()


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
        from rich.console import Console
        from rich.live import Live

        board = Board(title=title)
        with Live(board, console=Console(stderr=True), refresh_per_second=REFRESH_PER_SECOND) as live:
            yield LiveView(live, board)


def _words(event: Progress) -> str:
    if isinstance(event, Phase):
        return f"{event.name}: {event.detail}" if event.detail else event.name
    return f"{event.host} {event.role}: {event.step} {event.state}".replace(":  ", ": ")
