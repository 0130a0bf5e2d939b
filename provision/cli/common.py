"""What several commands share: opening the desk, finding the inventory, the options they all have."""

from __future__ import annotations

import errno
import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.booking.progress import Tell, silent
from provision.errors import InvalidInput, MachineCannot
from provision.home import Home

if TYPE_CHECKING:
    from provision.booking.desk import Desk

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md) and nothing else.")
MOST_CHARACTERS = 1 << 20
"""How much of a file that the user named is read at most; what reads it complains far earlier."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def inventory_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--inventory`, by default TIMELOCK_INVENTORY, else the lab's."""
    return click.option(
        "-i",
        "--inventory",
        type=click.Path(path_type=Path),
        envvar="TIMELOCK_INVENTORY",
        help="Ansible inventory: file, directory or script. Default: $TIMELOCK_INVENTORY, else the lab's.",
    )(command)


def booking_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """BOOKING, completed from the ledger's live bookings."""
    return click.argument("name", metavar="BOOKING", callback=_checked, shell_complete=_complete_booking)(command)


@contextmanager
def desk(tell: Tell = silent, *, actor: str = "") -> Iterator[Desk]:
    """Open the ledger and yield the desk of this operation; closes the ledger behind it."""
    from provision.booking.desk import Desk
    from provision.booking.ledger import Ledger

    home = Home.from_env()
    _ensure_root_directory(home)
    with Ledger(home.ledger_url) as ledger:
        yield Desk(home=home, ledger=ledger, actor=actor or os.environ.get("TIMELOCK_ACTOR") or user(), tell=tell)


def user() -> str:
    """Who acts, for the event lines."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def find_inventory(home: Home, given: Path | None) -> Path:
    """The inventory to use: the given one, else that of the only lab.

    Raises:
        InvalidInput: there is none, or more than one lab to choose from.
    """
    if given is not None:
        if not given.exists():
            raise InvalidInput((f"{given}: expected an inventory, found nothing there",))
        return given.absolute()
    found = sorted(home.labs.glob("*/inventory.yaml"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.parent.name for path in found) or "none"
    raise InvalidInput(
        (f"inventory: expected --inventory, TIMELOCK_INVENTORY, or exactly one lab; labs found: {names}",),
        next_step="`timelock lab up` makes the embedded lab, or name your inventory with --inventory",
    )


def ask(question: str) -> bool:
    """Whether the person says yes.

    Raises:
        InvalidInput: there is nobody to ask.
    """
    try:
        return click.confirm(question, err=True)
    except click.Abort as error:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise InvalidInput(
            ("expected an answer on standard input, found its end",), next_step="`--yes` answers yes beforehand"
        ) from error


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Let Ctrl-C end the block, which only looks: there is nothing to explain, and nothing to resume."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def read_text(path: Path) -> str:
    """The text of a file the user named, at most MOST_CHARACTERS of it (`/dev/zero` has no end).

    Raises:
        InvalidInput: it is missing, no file, or not UTF-8.
    """
    try:
        if path.is_fifo():
            raise OSError(errno.EINVAL, "a pipe, which may never end")
        with path.open(encoding="utf-8") as file:
            return file.read(MOST_CHARACTERS)
    except OSError as error:
        found = error.strerror or str(error)
    except UnicodeDecodeError as error:
        found = f"{error.reason} at byte {error.start}"
    raise InvalidInput((f"{path}: expected a readable UTF-8 file, found: {found}",))


def _ensure_root_directory(home: Home) -> None:
    try:
        home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise MachineCannot(
            f"{home.root}: expected a directory we can write to, found: {error}",
            next_step="run as root, or set TIMELOCK_HOME to a directory of yours",
        ) from error


def _checked(_: click.Context, __: click.Parameter, name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    raise InvalidInput((f"expected a booking's name (1 to 31 of a–z, 0–9 and '-', a letter first), found {name!a}",))


def _complete_booking(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    with desk() as here:
        return [booking.name for booking in here.ledger.bookings() if booking.name.startswith(incomplete)]
