"""Tables for people: a Plan, a booking, a list of bookings. Plain columns in a pipe, colours on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from provision import units
from provision.booking.model import BookingState
from provision.cli.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provision.booking.model import Booking, Event
    from provision.matching.model import Plan

COLOURS = {
    BookingState.ACTIVE: "green",
    BookingState.FAILED: "red",
    BookingState.QUARANTINED: "red",
    BookingState.RELEASED: "dim",
}
PIPE_WIDTH = 160


def console(*, err: bool = False) -> Console:
    """A console that never wraps in a pipe, and takes no word of ours or of a supplier for markup."""
    found = Console(stderr=err, highlight=False, markup=False)
    if found.is_terminal:
        return found
    return Console(stderr=err, highlight=False, markup=False, width=PIPE_WIDTH, no_color=True)


def print_plan(plan: Plan, *, err: bool = False) -> None:
    """The hosts of a Plan, its price and worst RTT, and why other hosts do not fit."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("host", "supplier", "site", "region", "tier", "GPUs", "per GPU and hour"):
        table.add_column(name)
    for planned in plan.hosts:
        host = planned.host
        gpus = f"{len(planned.gpus)} × {planned.gpus[0].model}"
        price = units.format_money(host.price_micros_per_gpu_hour, host.currency)
        table.add_row(host.name, plain(host.supplier), host.site, host.region, str(host.tier or "–"), gpus, price)
    out = console(err=err)
    out.print(table)
    out.print(summary(plan))
    if plan.why_not:
        out.print("not taken: " + ", ".join(f"{count} {reason}" for reason, count in plan.why_not))


def summary(plan: Plan) -> str:
    """One line: hosts, GPUs, worst RTT, price, window."""
    hosts, gpus = len(plan.hosts), plan.gpu_count
    return (
        f"{hosts} {'host' if hosts == 1 else 'hosts'}, {gpus} {'GPU' if gpus == 1 else 'GPUs'}, "
        f"worst RTT {units.format_rtt(plan.worst_rtt_ns)}, "
        f"{units.format_money(plan.price_micros, plan.currency)} for "
        f"{units.format_duration(plan.end_ns - plan.start_ns)} "
        f"({_instant(plan.start_ns)} to {_instant(plan.end_ns)})"
    )


def print_booked(booking: Booking, plan: Plan, changes: int) -> None:
    """What `book` ends with: the summary and the next commands."""
    out = console()
    name = booking.name
    out.print(Text.assemble((name, "bold"), " is ", coloured(booking.state), f": {summary(plan)}"))
    out.print(f"{changes} {'change' if changes == 1 else 'changes'}")
    if booking.state is BookingState.ACTIVE:
        out.print("next:")
        out.print(f"  timelock submit {name} -- python -c 'import ray; ray.init(); print(ray.cluster_resources())'")
        out.print(f"  timelock ssh {name}        timelock status {name}        timelock release {name}")
    elif booking.state is BookingState.CLAIMED:
        out.print(f"its hosts are held; `timelock serve` provisions them before {_instant(booking.start_ns)}")


def print_bookings(bookings: Iterable[Booking]) -> None:
    """One line a booking."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("booking", "state", "from", "to"):
        table.add_column(name)
    for booking in bookings:
        table.add_row(booking.name, coloured(booking.state), _instant(booking.start_ns), _instant(booking.end_ns))
    console().print(table)


def coloured(state: BookingState) -> Text:
    """A state in its colour."""
    return Text(str(state), COLOURS.get(state, "yellow"))


def window_words(booking: Booking, now_ns: int | None = None) -> str:
    """How far the window is: 'starts in 3h', '1h12m left', 'ended 5m ago', 'over since 2h'."""
    now = time.time_ns() if now_ns is None else now_ns
    if booking.ended_ns is not None:
        return f"over since {_roughly(now - booking.ended_ns)}"
    if now < booking.start_ns:
        return f"starts in {_roughly(booking.start_ns - now)}"
    if now < booking.end_ns:
        return f"{_roughly(booking.end_ns - now)} left"
    return f"ended {_roughly(now - booking.end_ns)} ago"


def _roughly(duration_ns: int) -> str:
    step = 10**9 if duration_ns < 60 * 10**9 else 60 * 10**9
    return units.format_duration(duration_ns // step * step)


def _instant(at_ns: int) -> str:
    return units.format_instant(at_ns // 10**9 * 10**9)


def event_line(event: Event) -> str:
    """One event: time, actor, target, old → new, reason."""
    line = event.line
    arrow = f"{line.old} → {line.new}" if line.old or line.new else ""
    parts = (_instant(line.time_ns), line.actor, line.target, arrow.strip(), line.reason)
    return "  ".join(plain(part) for part in parts if part)


def log_line(value: Mapping[str, object]) -> str:
    """One line of the journal: time, host, role, what."""
    at = value.get("time_ns")
    stamp = _instant(at) if isinstance(at, int) else "-"
    parts = (value.get(key) for key in ("host", "role", "event", "step", "state", "cause"))
    words = (plain(" · ".join(str(part).splitlines())) for part in parts if part)
    return "  ".join((stamp, *words))
