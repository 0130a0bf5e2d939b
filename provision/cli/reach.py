"""`timelock ssh` and `timelock submit`: to a host, and to the cluster; they end with the command's own code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from provision.booking.model import BookingState
from provision.cli.common import booking_argument, desk
from provision.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from provision.booking.desk import Desk
    from provision.matching.model import Plan

PASS_ON = {"ignore_unknown_options": True}


@click.command("ssh", context_settings=PASS_ON)
@booking_argument
@click.option("--host", metavar="HOST", help="Which host; the head by default.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh_command(name: str, host: str | None, command: tuple[str, ...]) -> None:
    """Open a shell on a host of BOOKING, or run COMMAND there. Host keys are the pinned ones; ~/.ssh is not used.

    Example: timelock ssh demo --host lab-a2 -- df -h
    """
    from provision.booking.access import ssh_argv

    with desk() as here:
        plan, config = _reach(here, name)
    names = [planned.host.name for planned in plan.hosts]
    if host is not None and host not in names:
        raise InvalidInput((f"{name}: expected one of its hosts ({', '.join(names)}), found {host!r}",))
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    _become(ssh_argv(config, host or names[0], _plain(command), terminal=terminal))


@click.command("submit", context_settings={**PASS_ON, "allow_interspersed_args": False})
@booking_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def submit_command(name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in the Ray container on the head of BOOKING, with this terminal's input and output.

    Example: timelock submit demo -- python -c 'import ray; ray.init(); print(ray.cluster_resources())'
    """
    from provision.booking.access import submit_argv

    with desk() as here:
        plan, config = _reach(here, name)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    _become(submit_argv(config, name, plan.hosts[0].host.name, _plain(command), terminal=terminal))


def _reach(here: Desk, name: str) -> tuple[Plan, Path]:
    from provision.booking.access import write_ssh_config
    from provision.booking.records import plan_of

    booking = here.ledger.booking(name)
    if not booking.live or booking.state in {BookingState.REQUESTED, BookingState.PLANNED, BookingState.CLAIMED}:
        raise InvalidInput(
            (f"{name}: expected a booking that is on its hosts, found one that is {booking.state}",),
            next_step=f"`timelock status {name}` shows where it stands",
        )
    plan = plan_of(booking)
    return plan, write_ssh_config(here.place(name), plan)


def _plain(command: tuple[str, ...]) -> tuple[str, ...]:
    return command[1:] if command[:1] == ("--",) else command


def _become(argv: list[str]) -> None:
    """Turn into the client, so that signals, terminal and exit code are its own."""
    sys.stdout.flush()
    os.execvp(argv[0], argv)
