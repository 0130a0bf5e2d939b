"""`timelock`: the operator's command. Commands parse, call one function, and print.

Subcommands are imported only when they run, so that `timelock --help` and completion answer at once.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Mapping

import click

from provision.cli.edge import guarded

COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "match": ("provision.cli.request", "match_command", "Plan only: hosts, price, worst RTT, why-not counts."),
    "book": ("provision.cli.request", "book_command", "Book what REQUEST asks for; again changes nothing."),
    "status": ("provision.cli.look", "status_command", "State of a booking, host by host."),
    "list": ("provision.cli.look", "list_command", "All bookings."),
    "events": ("provision.cli.look", "events_command", "What happened to a booking, line by line."),
    "logs": ("provision.cli.look", "logs_command", "What the workers said and did on the hosts."),
    "drift": ("provision.cli.operate", "drift_command", "Differences between a booking's hosts and its Plan."),
    "resume": ("provision.cli.operate", "resume_command", "Go on where a booking stopped; replace dead hosts."),
    "extend": ("provision.cli.operate", "extend_command", "Move the end of a booking's window."),
    "release": ("provision.cli.operate", "release_command", "Give a booking's hosts back and erase what it left."),
    "ssh": ("provision.cli.reach", "ssh_command", "A shell, or one command, on a host of a booking."),
    "submit": ("provision.cli.reach", "submit_command", "Run a command on a booking's Ray cluster."),
    "host": ("provision.cli.host", "host_group", "Hosts in quarantine: list, restore."),
    "lab": ("provision.cli.lab", "lab_group", "The embedded supplier: real Linux hosts on this machine."),
    "serve": ("provision.cli.serve", "serve_command", "The control plane that keeps the windows."),
    "completion": ("provision.cli.completion", "completion_command", "Shell completion for bash, zsh or fish."),
}

EPILOG = """\b
Exit codes:
  0    done
  1    no: drift found, controls failed
  2    invalid request, inventory or usage (every problem is listed)
  3    could not tell
  4    no capacity matches
  5    a host failed
  6    locked by another operation
  8    this machine cannot (no root, disk full, wrong passphrase, corrupt state, registry unreachable)
  130  interrupted; state kept; `timelock resume` goes on
  ssh and submit return the remote command's own code.
"""


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps, and imports a command only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of a booking's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.command(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="timelock", message="timelock %(version)s")
def timelock() -> None:
    """Book GPU hosts of many suppliers as one private Ray cluster, for a window, and give them back without a trace."""


def main() -> None:
    """Entry point: run the command, and end with its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(guarded(lambda: timelock.main(standalone_mode=False)))
