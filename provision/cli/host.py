"""`timelock host`: hosts that were set aside, and how they come back."""

from __future__ import annotations

import click

from provision.cli.common import desk, json_option, print_json
from provision.errors import InvalidInput


@click.group("host")
def host_group() -> None:
    """Hosts in quarantine: list them, erase what they owe and take them back."""


@host_group.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """Hosts that are set aside, why, and what they owe."""
    with desk() as here:
        aside = here.ledger.quarantined()
    if as_json:
        shapes = [
            {"host": h, "reason": q.reason, "owed": list(q.owed), "since_ns": q.since_ns} for h, q in aside.items()
        ]
        print_json({"v": 1, "quarantined": shapes})
        return
    for host, quarantine in sorted(aside.items()):
        click.echo(f"{host}  {quarantine.reason}  owes: {', '.join(quarantine.owed) or 'nothing'}")
    if not aside:
        click.echo("no host is in quarantine")


@host_group.command("restore")
@click.argument("host")
@click.option("--reason", default="restored by hand", show_default=True, help="Why, for the event line.")
@json_option
def restore_command(host: str, reason: str, as_json: bool) -> None:
    """Erase what HOST still carries of bookings that are over, and take it back; it must be reachable."""
    from provision.booking.restore import restore

    with desk() as here:
        if host not in here.ledger.quarantined():
            raise InvalidInput((f"{host}: expected a host in quarantine, found none of this name",))
        erased = restore(here, host, reason)
    if as_json:
        print_json({"v": 1, "host": host, "erased": list(erased)})
        return
    click.echo(f"{host} is back" + (f"; erased: {', '.join(erased)}" if erased else ""))
