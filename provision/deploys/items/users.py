"""The user of a booking: no login, and a range of subordinate ids of its own for the engine's user namespace."""

from __future__ import annotations

from dataclasses import dataclass

from provision.deploys.errors import StepFailed
from provision.deploys.item import Change, change, quote

_FILES = "passwd group shadow gshadow subuid subgid"

# shadow's tools keep the last state of each file as X-: a trace of us. What was there before is put back, by whoever
# comes next if we are cut off: `kept` is there, whole, from before the first change until all is as it was.
_KEEP_BACKUPS = f"""\
if [ ! -d "$kept" ]; then
  (umask 077 && rm -rf "$kept.new" && mkdir -p "$kept.new")
  for f in {_FILES}; do [ ! -e /etc/$f- ] || cp -p /etc/$f- "$kept.new"; done
  mv -T "$kept.new" "$kept"
fi
"""
_RESTORE_BACKUPS = f"""
for f in {_FILES}; do if [ -e "$kept/$f-" ]; then cp -p "$kept/$f-" /etc/$f-; else rm -f /etc/$f-; fi; done
rm -rf "$kept.done" && mv -T "$kept" "$kept.done" && rm -rf "$kept.done"
"""
_KEPT = "cut off"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemUser:
    """A system user with subordinate user and group ids [start, start + count).

    `scratch` is a path of the booking's own, for what must be put back when a change was cut off.
    """

    name: str
    subid_start: int
    scratch: str
    subid_count: int = 65536
    shared: str = ""

    @property
    def label(self) -> str:
        """'user name'."""
        return f"user {self.name}"

    def probe(self) -> str:
        """Print the account's line and its group's, then the ranges of everybody, and whether a change was cut off."""
        name = quote(self.name)
        return (
            f"getent passwd {name}; getent group {name} | sed 's/^/group /';"
            " sed 's/^/uid /' /etc/subuid; sed 's/^/gid /' /etc/subgid;"
            f" [ ! -d {quote(self.scratch)} ] || echo {quote(_KEPT)}"
        )

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Make the account and its ranges; refuse ranges that somebody else has."""
        account, ranges = self._parse(seen)
        group = f"group {self.name}:" in seen  # `useradd` that was cut off leaves an account without it
        wished = (self.subid_start, self.subid_count)
        for kind, owner, start, count in ranges:
            if owner != self.name and start < sum(wished) and self.subid_start < start + count:
                cause = f"sub{kind} range {self.subid_start}:{self.subid_count} overlaps {owner}'s {start}:{count}"
                raise StepFailed(
                    self.label, cause, next_step="free the range in the host's /etc/subuid and /etc/subgid"
                )
        ours = sorted((kind, start, count) for kind, owner, start, count in ranges if owner == self.name)
        if account and group and ours == [("gid", *wished), ("uid", *wished)]:
            return (change("was cut off", self._leaving_backups(":")),) if _KEPT in seen.splitlines() else ()
        reason = "absent" if not account else "ids differ" if group else "its group is absent"
        return (change(reason, self._leaving_backups(self._make())),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove the account and its ranges."""
        account, ranges = self._parse(seen)
        known = account or f"group {self.name}:" in seen or any(owner == self.name for _, owner, _, _ in ranges)
        if not known and _KEPT not in seen.splitlines():
            return ()
        name = quote(self.name)
        undo = (
            f"if getent passwd {name} >/dev/null; then userdel {name}; fi\n"
            f"if getent group {name} >/dev/null; then groupdel {name}; fi\n"
            f"sed -i {quote(f'/^{self.name}:/d')} /etc/subuid /etc/subgid"
        )
        return (change("no longer wanted", self._leaving_backups(undo)),)

    def _leaving_backups(self, text: str) -> str:
        return f"kept={quote(self.scratch)}\n{_KEEP_BACKUPS}{text}{_RESTORE_BACKUPS}"

    def _make(self) -> str:
        name = quote(self.name)
        line = quote(f"{self.name}:{self.subid_start}:{self.subid_count}")
        return (
            f"if ! {{ getent passwd {name} && getent group {name}; }} >/dev/null; then\n"
            f"userdel --force {name} 2>/dev/null || :; groupdel {name} 2>/dev/null || :\n"
            "useradd --system --user-group --no-create-home"
            f" --home-dir /nonexistent --shell /usr/sbin/nologin {name}\nfi\n"
            "touch /etc/subuid /etc/subgid\n"
            f"sed -i {quote(f'/^{self.name}:/d')} /etc/subuid /etc/subgid\n"
            f"echo {line} >> /etc/subuid; echo {line} >> /etc/subgid"
        )

    def _parse(self, seen: str) -> tuple[bool, list[tuple[str, str, int, int]]]:
        """Return whether the account exists, and all ranges as (kind, owner, start, count)."""
        ranges = []
        for line in seen.splitlines():
            kind, _, entry = line.partition(" ")
            fields = entry.split(":")
            if kind in ("uid", "gid") and len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
                ranges.append((kind, fields[0], int(fields[1]), int(fields[2])))
        return seen.startswith(f"{self.name}:"), ranges
