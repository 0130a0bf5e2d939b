"""`timelock drift | resume | extend | release`: what is done to a booking that exists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from provision.booking.model import BookingState
from provision.cli.common import ask, booking_argument, desk, json_option, print_json, yes_option
from provision.cli.view import watching
from provision.errors import InvalidInput

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.lifecycle import Result
    from provision.booking.model import Booking


@click.command("drift")
@booking_argument
@json_option
def drift_command(name: str, as_json: bool) -> int:
    """Compare the hosts with the Plan and name each difference (exit 1 if there is one). Changes nothing."""
    with desk() as here:
        return show_drift(here, name, as_json)


def show_drift(here: Desk, name: str, as_json: bool) -> int:
    """Look, print, and return the exit code."""
    from provision.booking.operations import drift

    with watching(f"drift {name}", json=as_json) as view:
        found = drift(replace(here, tell=view.tell), name)
    if as_json:
        items = [{"host": item.host, "role": item.role, "what": item.what} for item in found]
        print_json({"v": 1, "name": name, "drift": items})
    else:
        for item in found:
            click.echo(f"{item.host}  {item.role}  {item.what}")
        click.echo(f"{len(found)} {'difference' if len(found) == 1 else 'differences'}")
        if found:
            click.echo(f"  → `timelock resume {name}` puts right exactly these", err=True)
    return 1 if found else 0


@click.command("resume")
@booking_argument
@json_option
def resume_command(name: str, as_json: bool) -> int:
    """Go on where BOOKING stopped, whatever stopped it; put right what differs; replace hosts that are lost."""
    from provision.booking.operations import resume

    with desk() as here, watching(f"resume {name}", json=as_json) as view:
        result = resume(replace(here, tell=view.tell), name)
    return _show(result, as_json)


@click.command("release")
@booking_argument
@yes_option
@json_option
def release_command(name: str, yes: bool, as_json: bool) -> int:
    """Give the hosts of BOOKING back: containers, images, keys, rules and users are removed, then the claims."""
    from provision.booking.operations import release

    with desk() as here:
        booking = here.ledger.booking(name)
        if booking.live and not (yes or as_json or _sure(here, booking)):
            click.echo("not released", err=True)
            return 1
        with watching(f"release {name}", json=as_json) as view:
            result = release(replace(here, tell=view.tell), name)
        aside = [host for host, q in here.ledger.quarantined().items() if _because_of(q, result)]
    code = _show(result, as_json, quarantined=aside)
    for host in aside if not as_json else ():
        click.echo(f"  {host} could not be erased and is in quarantine: `timelock host restore {host}`", err=True)
    return code


@click.command("extend")
@booking_argument
@click.option("--by", metavar="DURATION", help="Add this much, such as 30m or 2h.")
@click.option("--until", metavar="INSTANT", help="New end, ISO 8601 with an offset.")
@json_option
def extend_command(name: str, by: str | None, until: str | None, as_json: bool) -> int:
    """Move the end of BOOKING later, if its GPUs are free that long (exit 4 if they are not)."""
    from provision.booking.lifecycle import Result
    from provision.booking.operations import extend

    with desk() as here:
        end_ns = _new_end(here.ledger.booking(name).end_ns, by, until)
        booking = extend(here, name, end_ns)
    return _show(Result(booking=booking), as_json)


def _new_end(end_ns: int, by: str | None, until: str | None) -> int:
    from provision import units

    if (by is None) == (until is None):
        raise click.UsageError("expected either --by or --until")
    try:
        return end_ns + units.parse_duration(by) if by is not None else units.parse_instant(until or "")
    except units.UnitError as error:
        raise InvalidInput((str(error),)) from error


def _sure(here: Desk, booking: Booking) -> bool:
    """Ask before a window is cut short; one that is over needs no question."""
    from provision.cli.tables import window_words

    now_ns = here.now_ns()
    return now_ns >= booking.end_ns or ask(f"Release {booking.name} now? Its window: {window_words(booking, now_ns)}.")


def _because_of(quarantine: object, result: Result) -> bool:
    debts = getattr(quarantine, "debts", ())
    return any(debt.booking_id == result.booking.id for debt in debts)


def _show(result: Result, as_json: bool, **more: object) -> int:
    from provision.booking.records import plan_of
    from provision.cli.shape import booking_shape
    from provision.cli.tables import print_booked

    booking = result.booking
    plan = plan_of(booking) if booking.plan else None
    if as_json:
        print_json(booking_shape(booking, plan, changes=result.changes, **more))
    elif plan and booking.state is not BookingState.RELEASED:
        print_booked(booking, plan, result.changes)
    else:
        click.echo(f"{booking.name} is {booking.state}")
    return 0
