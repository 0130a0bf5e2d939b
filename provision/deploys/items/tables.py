"""A table of nftables as the kernel holds it, compared with the file that should be in force.

The file is loaded into an empty network namespace beside the real one and both are listed by nft itself: so the
comparison needs no record that could be forged, knows nft's own spelling, and names the rule that differs.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from provision.deploys.item import Change, change, quote
from provision.deploys.places import RUN

LOCK = f"{RUN}/nft.lock"
_SPLIT = "##wished"


@dataclass(frozen=True, slots=True, kw_only=True)
class NftTable:
    """The table `family name`, loaded from the nft script `file`; loaded again when an item of `follows` changed."""

    family: str
    name: str
    file: str
    follows: tuple[str, ...] = ()
    shared: str = ""

    @property
    def label(self) -> str:
        """'table inet name'."""
        return f"table {self.family} {self.name}"

    def probe(self) -> str:
        """Print the table in force, then the one that the file makes."""
        dump = f"nft -s list table {quote(self.family)} {quote(self.name)}"
        beside = f"nft -f {quote(self.file)} && {dump}"
        return f"{dump}; echo; echo '{_SPLIT}'; [ ! -e {quote(self.file)} ] || unshare -n sh -c {quote(beside)}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Load the file, in one transaction, when the kernel's table differs from it or the file changes now."""
        force, _, wished = (part.strip() for part in seen.partition(_SPLIT))
        followed = [label for label in self.follows if label in changed]
        if followed:
            reason = f"{followed[0]} changes"
        elif not force:
            reason = "absent"
        elif force == wished:
            return ()
        else:
            reason = _difference(force, wished)
        return (change(reason, load(self.file)),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Delete this table and no other."""
        force, _, _ = (part.strip() for part in seen.partition(_SPLIT))
        if not force:
            return ()
        name = f"{quote(self.family)} {quote(self.name)}"
        return (change("no longer wanted", f"nft add table {name} && nft delete table {name}"),)


def load(file: str) -> str:
    """Return shell text that loads an nft script; one at a time, since what it includes may be changing."""
    return f"flock -o -w 30 {LOCK} nft -f {quote(file)}"


def _difference(force: str, wished: str) -> str:
    """Name the first missing and the first foreign line, with their number when there are more."""
    lines = list(difflib.ndiff(force.splitlines(), wished.splitlines()))
    missing = [line[2:].strip() for line in lines if line.startswith("+ ")]
    foreign = [line[2:].strip() for line in lines if line.startswith("- ")]
    return ", ".join(_name("missing", missing) + _name("not ours", foreign)) or "differs"


def _name(what: str, lines: list[str]) -> list[str]:
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    return [f"{what}: {lines[0]}{more}"] if lines else []
