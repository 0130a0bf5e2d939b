"""`timelock completion`: the script that a shell reads to complete commands, options and bookings."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script: `source <(timelock completion bash)`."""
    from provision.cli import timelock

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(timelock, {}, "timelock", "_TIMELOCK_COMPLETE").source())
