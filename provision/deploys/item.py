"""The words of a deploy: an Item is wished, its probe looks, `changes` decides, a Change holds the commands that act.

Deciding is pure: from the text that a probe printed to commands, never touching a host. Whoever writes an item keeps
four rules:

- a probe only reads, ends by itself within a second, and prints text (digests instead of contents);
- a command is idempotent: it may run after an orphan of a dead controller did the same;
- a secret goes through `stdin`, never into `text`;
- a value that comes from outside is quoted (`quote`).

Commands may call `fail KIND CAUSE NEXT` (see `script.PRELUDE`) to fail with a kind and advice of their own.
"""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass, field
from typing import Protocol

quote = shlex.quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Shell text for the host, with what it reads on standard input and the time it may take."""

    text: str
    stdin: str = field(default="", repr=False)
    timeout_seconds: int = 60
    exclusive: bool = True
    """Holds the booking's lock on the host; a command that only waits gives it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference: why it is one, and the commands that remove it."""

    reason: str
    commands: tuple[Command, ...]


class Item(Protocol):
    """One thing on a host."""

    @property
    def label(self) -> str:
        """What people read: kind and name, 'file /etc/hosts'; unique within a role."""

    @property
    def shared(self) -> str:
        """The group of items that several bookings of one host use together; empty when the item is the booking's own.

        A shared item is removed when the last booking that holds its group lets go.
        """

    def probe(self) -> str:
        """Shell text that prints what is there."""

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Decide what to do, given what the probe printed and the labels of earlier items that change in this run."""

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Decide how to undo, given what the probe printed; nothing when nothing is there."""


class Stays:
    """An item that removal leaves: others may need it by now, or it goes with what it lies in. Not looked at then."""

    __slots__ = ()

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Nothing."""
        return ()


class Told(Stays):
    """An item that is only looked at, for what its role has to tell."""

    __slots__ = ()

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Nothing."""
        return ()


class Cleared:
    """An item that comes with others and is never asked for: looked at only when it has to go."""

    __slots__ = ()

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Nothing."""
        return ()


def change(reason: str, *texts: str, timeout_seconds: int = 60) -> Change:
    """Return a Change of plain shell commands."""
    return Change(reason=reason, commands=tuple(Command(text=text, timeout_seconds=timeout_seconds) for text in texts))


def write(path: str, content: str, *, mode: int, owner: str = "root:root", after: str = "") -> Command:
    """Return the command that puts `content` at `path` in one step: readers see the old file or the new one."""
    target, fresh = quote(path), quote(f"{path}.timelock")
    text = (
        f"umask 077 && base64 -d > {fresh} && chown {quote(owner)} {fresh} && chmod {mode:o} {fresh}"
        f" && mv -fT {fresh} {target}"
    )
    encoded = base64.encodebytes(content.encode()).decode()
    return Command(text=f"{text} && {{ {after}\n}}" if after else text, stdin=encoded)
