"""Who uses the shared things of a host.

Packages, kernel settings or the firewall's base serve all bookings of a host. Each booking leaves a mark per group of
shared items before it looks at them; removal takes the mark away and undoes an item only while no mark is left. Marks
change and items are undone under one lock of the host, so that a booking that comes and one that goes never meet
half-way: either the newcomer's mark is seen, or the newcomer finds the thing gone and makes it again.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from provision.deploys.item import Change, Command, change, quote
from provision.deploys.places import HOLDERS, RUN, STATE, holder

_LOCK = f"{RUN}/shared.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """This booking's mark on a group of shared items."""

    group: str
    booking: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'hold group'."""
        return f"hold {self.group}"

    def probe(self) -> str:
        """Print the bookings that hold the group."""
        return f"ls -A {quote(posixpath.dirname(self._mark))}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Leave the mark."""
        return () if self.booking in seen.split() else (change("absent", self.take()),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Take the mark away."""
        if self.booking not in seen.split():
            return ()
        mark, group = quote(self._mark), quote(posixpath.dirname(self._mark))
        return (change("no longer wanted", _locked(f"rm -f {mark}; rmdir {group} 2>/dev/null || :")),)

    def take(self) -> str:
        """Return shell text that leaves the mark, and does nothing when it is there."""
        mark, group = quote(self._mark), quote(posixpath.dirname(self._mark))
        made = f"mkdir -p -m 711 {STATE} && mkdir -p -m 700 {HOLDERS} {group} && : > {mark}"
        return f"[ -e {mark} ] || {{ {_locked(made)}; }}"

    @property
    def _mark(self) -> str:
        return holder(self.group, self.booking)


def unless_held(group: str, undo: Change) -> Change:
    """Return `undo` so that it does nothing while any booking still holds `group`."""
    marks = quote(posixpath.dirname(holder(group, "x")))
    return Change(
        reason=undo.reason,
        commands=tuple(
            Command(
                text=_locked(f'[ -n "$(ls -A {marks} 2>/dev/null)" ] || {{\n{command.text}\n}}'),
                timeout_seconds=command.timeout_seconds,
            )
            for command in undo.commands
        ),
    )


def _locked(text: str) -> str:
    """Run `text` under the host's lock; the lock is not inherited by what `text` starts."""
    return f"mkdir -p {RUN} && flock -o -w 60 {_LOCK} sh -c {quote('set -e; ' + text)}"
