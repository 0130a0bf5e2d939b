"""How `timelock status` looks: one screen that says whether all is well, and if not, where."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from provision import units
from provision.cli.shape import booking_shape, event_shape
from provision.cli.tables import coloured, console, event_line, summary, window_words
from provision.cli.view import ROLES, ROOMY, add_role_columns, role_marks

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.booking.condition import Condition

WATCH_SECONDS = 2.0


def draw(condition: Condition) -> None:
    """Print it once."""
    console().print(screen(condition))


def watch_status(look: Callable[[], Condition]) -> None:
    """Draw it again and again until interrupted, or until the booking is over; in a pipe one below the other."""
    out = console()
    with Live(console=out, auto_refresh=False) if out.is_terminal else nullcontext() as live:
        while True:
            now = look()
            if live:
                live.update(screen(now), refresh=True)
            else:
                out.print(screen(now))
            if not now.booking.live:
                return
            time.sleep(WATCH_SECONDS)


def screen(condition: Condition) -> Group:
    """Header, hosts, last events."""
    booking = condition.booking
    head = Text.assemble(
        (booking.name, "bold"), "  ", coloured(booking.state), "  ",
        window_words(booking, condition.now_ns),
    )  # fmt: skip
    if condition.operation:
        head.append(f"  at work: {condition.operation}", "cyan")
    if not condition.serving and booking.live:
        head.append("  no control plane runs: nothing will close it at its end (`timelock serve`)", "yellow")
    parts: list[Any] = [head]
    if condition.plan:
        parts.append(Text(summary(condition.plan)))
    if condition.hosts:
        parts.append(_hosts(condition))
    parts.append(Text("\n".join(event_line(event) for event in condition.events), "dim"))
    return Group(*parts)


def status_shape(condition: Condition) -> dict[str, Any]:
    """The same as JSON."""
    hosts = [
        {
            "name": h.planned.host.name,
            "answers": h.answered_ns is not None,
            "ssh_connect_ns": h.answered_ns,
            "roles": dict(h.roles),
        }
        for h in condition.hosts
    ]
    return booking_shape(
        condition.booking,
        condition.plan,
        hosts=hosts,
        operation=condition.operation,
        serving=condition.serving,
        events=[event_shape(event) for event in condition.events],
    )


def _hosts(condition: Condition) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    narrow = console().width < ROOMY + max(len(host.planned.host.name) for host in condition.hosts)
    for name in ("host", "", "site", "GPUs", "SSH"):
        table.add_column(name, no_wrap=True)
    add_role_columns(table, ROLES, narrow=narrow)
    for place, host in enumerate(condition.hosts):
        planned = host.planned
        answer = (
            Text("no answer", "bold red")
            if host.answered_ns is None
            else Text(_milliseconds(host.answered_ns), "green")
        )
        table.add_row(
            planned.host.name,
            "head" if place == 0 else "",
            planned.host.site,
            f"{len(planned.gpus)} × {planned.gpus[0].model}",
            answer,
            *role_marks(host.roles, ROLES, narrow=narrow),
        )
    return table


def _milliseconds(duration_ns: int) -> str:
    return units.format_rtt(duration_ns // 10**4 * 10**4)
