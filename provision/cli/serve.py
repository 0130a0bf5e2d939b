"""`timelock serve`: the control plane, in the foreground; `book` starts it in the background when none runs."""

from __future__ import annotations

import click

from provision.cli.common import desk
from provision.errors import InvalidInput


@click.command("serve")
@click.option("--stop", is_flag=True, help="Stop the one that runs, and wait until it has.")
@click.option("--background", is_flag=True, help="Start it in the background, unless one runs.")
@click.option("--until-idle", is_flag=True, help="End when no booking has been live for a minute.")
def serve_command(stop: bool, background: bool, until_idle: bool) -> None:
    """Keep the windows: provision before T1, close at T2, replace hosts that die. Bookings go on when it is away."""
    from provision.control.background import ensure_serving, log_path, stop_serving

    if stop and (background or until_idle):
        raise InvalidInput(("serve: expected --stop alone",))
    with desk(actor="serve") as here:
        if stop:
            click.echo("stopped" if stop_serving(here.home) else "none was running")
        elif background:
            ensure_serving(here.home)
            click.echo(f"running; log: {log_path(here.home)}")
        else:
            from provision.control.serve import serve

            serve(here, until_idle=until_idle, say=_say)


def _say(line: str) -> None:
    from datetime import UTC, datetime

    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}  {line}")
