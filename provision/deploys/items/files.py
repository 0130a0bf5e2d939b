"""Files and directories.

A file or directory that somebody else had before us is put back (file) or left (directory) on removal.
"""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass, field

from provision.deploys.item import Change, Command, change, quote, write
from provision.deploys.places import BEFORE, before


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file with this content, mode and owner.

    `after` is shell text run when the file was written or removed; `foreign` says that the path is not ours alone:
    what stood there is kept and comes back on removal.
    """

    path: str
    content: str = field(repr=False)
    mode: int = 0o644
    owner: str = "root:root"
    shared: str = ""
    after: str = ""
    foreign: bool = False

    @property
    def label(self) -> str:
        """'file /path'."""
        return f"file {self.path}"

    def probe(self) -> str:
        """Print type, mode, owner and digest."""
        path = quote(self.path)
        return f"stat -c '%F|%a|%U:%G' {path} && [ -f {path} ] && sha256sum < {path}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Write the file when anything differs; the first difference is the reason."""
        reason = self._difference(seen)
        if not reason:
            return ()
        put = write(self.path, self.content, mode=self.mode, owner=self.owner, after=self.after)
        keep = (Command(text=_remember(self.path)),) if self.foreign else ()
        return (Change(reason=reason, commands=(*keep, put)),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove the file, or put back what was there before us."""
        if not seen:
            return ()
        path, kept = quote(self.path), quote(before("file", self.path))
        undo = f"rm -f {path} {path}.timelock"
        if self.foreign:
            undo = f"if [ -e {kept} ]; then mv -fT {kept} {path}; elif [ -e {kept}.none ]; then {undo} {kept}.none; fi"
        return (change("no longer wanted", f"{undo}\n{self.after}"),)

    def _difference(self, seen: str) -> str:
        if not seen:
            return "absent"
        head, _, digest = seen.partition("\n")
        kind, mode, owner = head.split("|")
        if not kind.startswith("regular"):
            return f"is a {kind}, should be a file"
        if digest.split()[:1] != [hashlib.sha256(self.content.encode()).hexdigest()]:
            return "content differs"
        if int(mode, 8) != self.mode:
            return f"mode is {mode}, should be {self.mode:o}"
        return "" if owner == self.owner else f"owner is {owner}, should be {self.owner}"


def _remember(path: str) -> str:
    """Keep what stands at `path`, once: the first look is the true one."""
    kept, name = quote(before("file", path)), quote(path)
    return (
        f"mkdir -p -m 700 {BEFORE} && {{ [ -e {kept} ] || [ -e {kept}.none ] ||"
        f" if [ -e {name} ]; then cp -a {name} {kept}; else : > {kept}.none; fi; }}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A file that a program makes by itself when we start it; it goes in the end unless it was there before us."""

    path: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'leftover /path'."""
        return f"leftover {self.path}"

    def probe(self) -> str:
        """Print whether the file is there, and whether we know of its absence before."""
        return f"[ -e {quote(self.path)} ] && echo there; [ -e {self._mark} ] && echo known"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Remember that there was none."""
        return () if seen else (change("not there yet", f"mkdir -p -m 700 {BEFORE} && : > {self._mark}"),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove what was made meanwhile."""
        if not seen.endswith("known"):
            return ()
        return (change("no longer wanted", f"[ ! -e {self._mark} ] || rm -f {quote(self.path)} {self._mark}"),)

    @property
    def _mark(self) -> str:
        return quote(f"{before('file', self.path)}.none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory with this mode and owner.

    On removal it goes with all that is in it when it is `private`; else when it is empty, and `ours` by its name or
    made by us. One that others have filled meanwhile is theirs.
    """

    path: str
    mode: int = 0o755
    owner: str = "root:root"
    shared: str = ""
    private: bool = False
    ours: bool = False

    @property
    def label(self) -> str:
        """'directory /path'."""
        return f"directory {self.path}"

    def probe(self) -> str:
        """Print type, mode and owner, and whether we made it."""
        return f"stat -c '%F|%a|%U:%G' {quote(self.path)} && [ -e {self._mark} ] && echo made"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Make the directory, or correct mode and owner where it is ours."""
        path = quote(self.path)
        right = f"chown {quote(self.owner)} {path} && chmod {self.mode:o} {path}"
        if not seen:
            note = "" if self._named else f"mkdir -p -m 700 {BEFORE} && : > {self._mark} && "
            parent = quote(posixpath.dirname(self.path))
            return (change("absent", f"mkdir -p {parent} && {note}mkdir -p {path} && {right}"),)
        head, _, made = seen.partition("\n")
        kind, mode, owner = head.split("|")
        if kind != "directory":
            return (change(f"is a {kind}, should be a directory", f"fail step {quote(self.path + ' is in the way')}"),)
        if (int(mode, 8), owner) == (self.mode, self.owner) or not (made or self._named):
            return ()
        return (change(f"is {mode} {owner}, should be {self.mode:o} {self.owner}", right),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove what is ours or made by us."""
        if not seen or not (self._named or seen.endswith("\nmade")):
            return ()
        path = quote(self.path)
        if self.private:
            return (change("no longer wanted", f"rm -rf --one-file-system {path}"),)
        undo = f"[ ! -d {path} ] || rmdir --ignore-fail-on-non-empty {path}"
        return (change("no longer wanted", undo if self.ours else f"{undo}\nrm -f {self._mark}"),)

    @property
    def _named(self) -> bool:
        return self.private or self.ours

    @property
    def _mark(self) -> str:
        return quote(before("dir", self.path))
