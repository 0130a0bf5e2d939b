"""Kernel settings: set now, and again at boot; the value that was there before us comes back on removal."""

from __future__ import annotations

from dataclasses import dataclass

from provision.deploys.item import Change, change, quote
from provision.deploys.places import BEFORE, before


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl:
    """One kernel setting. A kernel that lacks the key is left alone when the setting is `optional`."""

    key: str
    value: str
    optional: bool = False
    shared: str = ""

    @property
    def label(self) -> str:
        """'sysctl key'."""
        return f"sysctl {self.key}"

    def probe(self) -> str:
        """Print the value, fields parted by one space; then what it was before us, if we changed it."""
        return f"cat {self._path} && cat {quote(before('sysctl', self.key))}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Remember the first value, then set ours."""
        now = " ".join(seen.partition("\n")[0].split())
        if now == self.value or (self.optional and not seen):
            return ()
        if not seen:
            return (change("unknown to the kernel", f"fail step 'the kernel has no {self.key}' ''"),)
        kept = quote(before("sysctl", self.key))
        text = (
            f"mkdir -p -m 700 {BEFORE} && {{ [ -e {kept} ] || cat {self._path} > {kept}; }}"
            f" && sysctl -q -w {quote(f'{self.key}={self.value}')}"
        )
        return (change(f"is {now}, should be {self.value}", text),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Put back the value that was there before us."""
        _, _, kept = seen.partition("\n")
        if not kept.strip():
            return ()
        mark = quote(before("sysctl", self.key))
        return (change("no longer wanted", f"[ ! -e {mark} ] || {{ cat {mark} > {self._path}; rm -f {mark}; }}"),)

    @property
    def _path(self) -> str:
        return quote(f"/proc/sys/{self.key.replace('.', '/')}")
