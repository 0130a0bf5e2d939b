"""`timelock status | list | events | logs`: looking, without touching anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from provision.cli.common import booking_argument, desk, json_option, print_json, until_interrupted
from provision.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provision.booking.desk import Desk

FOLLOW_SECONDS = 0.5


@click.command("status")
@booking_argument
@click.option("-w", "--watch", is_flag=True, help="Stay, and draw it again every two seconds.")
@json_option
def status_command(name: str, watch: bool, as_json: bool) -> None:
    """Show BOOKING: state, window, price so far, each host with its roles and whether it answers, last events."""
    from provision.booking.condition import condition
    from provision.cli.status import draw, status_shape, watch_status

    if watch and as_json:
        raise click.UsageError("expected --watch or --json, not both")
    with desk() as here, until_interrupted():
        if as_json:
            print_json(status_shape(condition(here, name)))
        elif watch:
            watch_status(lambda: condition(here, name))
        else:
            draw(condition(here, name))


@click.command("list")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that are over.")
@json_option
def list_command(everything: bool, as_json: bool) -> None:
    """List bookings, oldest first."""
    from provision.booking.records import plan_of
    from provision.cli.shape import VERSION, booking_shape
    from provision.cli.tables import print_bookings

    with desk() as here:
        bookings = here.ledger.bookings(live_only=not everything)
    if as_json:
        shapes = [booking_shape(booking, plan_of(booking) if booking.plan else None) for booking in bookings]
        print_json({"v": VERSION, "bookings": shapes})
    elif bookings:
        print_bookings(bookings)
    else:
        click.echo("no booking" if everything else "no live booking (`timelock list --all` shows those that are over)")


@click.command("events")
@booking_argument
@click.option("-f", "--follow", is_flag=True, help="Stay, and print new ones as they come.")
@json_option
def events_command(name: str, follow: bool, as_json: bool) -> None:
    """Print what happened to BOOKING: time, actor, target, old → new, reason (with --json -f one document a line)."""
    import json

    from provision.cli.shape import event_shape
    from provision.cli.tables import event_line

    with desk() as here, until_interrupted():
        booking = here.ledger.booking(name)
        if as_json and not follow:
            print_json({"v": 1, "events": [event_shape(event) for event in here.ledger.events(booking.id)]})
            return
        seen = 0
        while True:
            for event in here.ledger.events(booking.id, seen):
                seen = event.seq
                click.echo(json.dumps(event_shape(event), ensure_ascii=False) if as_json else event_line(event))
            if not follow or not here.ledger.booking(booking.id).live:
                return
            time.sleep(FOLLOW_SECONDS)


@click.command("logs")
@booking_argument
@click.option("--host", metavar="HOST", help="Only this host.")
@click.option("-f", "--follow", is_flag=True, help="Stay, and print new lines as they come.")
@json_option
def logs_command(name: str, host: str | None, follow: bool, as_json: bool) -> None:
    """Print what the workers did on the hosts of BOOKING, step by step (with --json the journal's own lines)."""
    import json

    from provision.cli.tables import log_line

    with desk() as here, until_interrupted():
        if host is not None:
            _check_host(here, name, host)
        for value in _journal(here, name, follow=follow):
            if host is None or value.get("host") == host:
                click.echo(json.dumps(value, ensure_ascii=False) if as_json else log_line(value))


def _check_host(here: Desk, name: str, host: str) -> None:
    """Refuse a host that neither is, nor was, one of the booking's."""
    from provision.booking.records import plan_of

    booking = here.ledger.booking(name)
    planned = [planned.host.name for planned in plan_of(booking).hosts] if booking.plan else []
    if host not in planned and all(value.get("host") != host for value in _journal(here, name, follow=False)):
        known = ", ".join(planned) or "none yet"
        raise InvalidInput((f"{name}: expected one of its hosts ({known}), found {host!r}",))


def _journal(here: Desk, name: str, *, follow: bool) -> Iterator[Mapping[str, object]]:
    from provision.booking.progress import read_journal

    booking = here.ledger.booking(name)
    path, offset = here.place(name).journal, 0
    while True:
        for line in read_journal(path, offset):
            offset = line.next_offset
            yield line.value
        if not follow or not here.ledger.booking(booking.id).live:
            return
        time.sleep(FOLLOW_SECONDS)
