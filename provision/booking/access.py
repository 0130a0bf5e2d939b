"""How a person reaches a booking: an OpenSSH configuration of our own, and the command lines that use it.

The user's own ~/.ssh/config is neither read nor changed: every call names our file with -F.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from provision.deploys.places import engine_socket

if TYPE_CHECKING:
    from provision.home import BookingPlace
    from provision.matching.model import Plan

RAY_CONTAINER = "ray"


def write_ssh_config(place: BookingPlace, plan: Plan) -> Path:
    """Write one Host block a host, with pinned host keys only, and return the file."""
    blocks = (
        "\n".join(
            (
                f"Host {planned.host.name}",
                f"  HostName {planned.host.address}",
                f"  Port {planned.host.port}",
                f"  User {planned.host.user}",
                f"  IdentityFile {_quoted(planned.host.key_file)}",
                f"  UserKnownHostsFile {_quoted(str(place.known_hosts))}",
                "  GlobalKnownHostsFile /dev/null",
                "  IdentitiesOnly yes",
                "  StrictHostKeyChecking yes",
                "  PasswordAuthentication no",
                "  ConnectTimeout 10",
                "  ServerAliveInterval 15",
                "  LogLevel ERROR",
            )
        )
        for planned in plan.hosts
    )
    place.ssh_config.write_text("\n".join(blocks) + "\n", encoding="utf-8")
    return place.ssh_config


def ssh_argv(config: Path, host: str, command: tuple[str, ...] = (), *, terminal: bool = False) -> list[str]:
    """The OpenSSH client's argv for a shell on `host`, or for one command.

    A single word is a line for the host's shell, as with ssh itself; of several, each stays the word it is.
    """
    flags = ["-t"] if terminal else []
    line = [command[0] if len(command) == 1 else shlex.join(command)] if command else []
    return ["ssh", "-F", str(config), *flags, host, *line]


def submit_argv(config: Path, booking: str, head: str, command: tuple[str, ...], *, terminal: bool) -> list[str]:
    """The argv that runs `command` in the Ray container of the head."""
    flags = "-it" if terminal else "-i"
    inner = ("docker", "-H", f"unix://{engine_socket(booking)}", "exec", flags, RAY_CONTAINER, *command)
    return ssh_argv(config, head, inner, terminal=terminal)


def _quoted(path: str) -> str:
    return f'"{path}"'
