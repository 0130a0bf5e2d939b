"""`timelock lab`: the embedded supplier."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from provision.cli.common import json_option, print_json
from provision.errors import MachineCannot
from provision.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.lab.status import LabStatus

name_option = click.option(
    "--name", default="lab", show_default=True, help="Which lab; several may stand side by side."
)


@click.group("lab")
def lab_group() -> None:
    """Real Linux hosts on this machine, for trying Timelock without a supplier: up, down, status."""


@lab_group.command("up")
@name_option
@click.option("--hosts", default=3, show_default=True, type=click.IntRange(1, 64), help="How many hosts.")
@click.option("--gpus", default=2, show_default=True, type=click.IntRange(0, 8), help="GPUs (simulated) a host.")
@click.option("--image", type=click.Choice(["golden", "minimal"]), default="golden", show_default=True)
@json_option
def up_command(name: str, hosts: int, gpus: int, image: str, as_json: bool) -> None:
    """Bring the lab up (again: only what is missing): hosts, registry, package proxy, inventory."""
    from provision.lab.lab import Lab

    _need_root()
    lab = Lab(Home.from_env(), name)
    status = lab.up(hosts=hosts, gpus=gpus, image=image, progress=_progress(as_json))
    if as_json:
        print_json(_shape(status))
    else:
        names = ", ".join(host.name for host in status.hosts)
        click.echo(f"lab {name!r} is up: {names}; inventory: {status.inventory}")


@lab_group.command("down")
@name_option
@json_option
def down_command(name: str, as_json: bool) -> None:
    """Take the lab down and remove all of it, whatever state it is in; images stay cached."""
    from provision.lab.lab import Lab

    _need_root()
    lab = Lab(Home.from_env(), name)
    lab.down()
    if as_json:
        print_json(_shape(lab.status()))
    else:
        click.echo(f"lab {name!r} is down")


@lab_group.command("status")
@name_option
@json_option
def status_command(name: str, as_json: bool) -> None:
    """Show what of the lab is there and alive."""
    from provision.lab.lab import Lab

    status = Lab(Home.from_env(), name).status()
    if as_json:
        print_json(_shape(status))
        return
    for host in status.hosts:
        click.echo(f"{host.name}  {host.address}  {host.state}")
    if not status.hosts:
        click.echo(f"lab {name!r} is down")
    else:
        click.echo(f"registry {'up' if status.registry else 'down'}, package proxy {'up' if status.proxy else 'down'}")
        click.echo(f"inventory {status.inventory}")


def _need_root() -> None:
    if os.geteuid() != 0:
        raise MachineCannot("lab: expected root, found an ordinary user", next_step="run it with sudo")


def _progress(quiet: bool) -> Callable[[str], None]:
    began = time.monotonic()

    def tell(line: str) -> None:
        if not quiet:
            sys.stderr.write(f"{time.monotonic() - began:7.1f} s  {line}\n")
            sys.stderr.flush()

    return tell


def _shape(status: LabStatus) -> dict[str, Any]:
    hosts = [{"name": h.name, "address": h.address, "gpus": h.gpus, "state": h.state} for h in status.hosts]
    return {
        "v": 1,
        "name": status.name,
        "subnet": status.subnet,
        "hosts": hosts,
        "registry": status.registry,
        "proxy": status.proxy,
        "inventory": str(status.inventory),
        "key_file": str(status.key_file),
    }
