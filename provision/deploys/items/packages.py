"""Debian packages. They stay when a booking ends: others may have come to depend on them."""

from __future__ import annotations

from dataclasses import dataclass

from provision.deploys.item import Change, Stays, change, quote

INSTALL_TIMEOUT_SECONDS = 600

# Maintainer scripts may not start services: what a host runs is decided by its roles, and an engine of the host
# that was not there before must not appear beside the booking's.
_INSTALL = """\
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\\n# timelock: packages are being installed\\nexit 101\\n' > $policy && chmod 755 $policy
fi
install() {{
  apt-get -q -y -o DPkg::Lock::Timeout=120 -o APT::Keep-Downloaded-Packages=false \\
    install --no-install-recommends {names}
}}
command -v apt-get >/dev/null || fail step 'no apt-get: only Debian and its relatives are supported' ''
dpkg --configure -a
install || {{ apt-get -q -o DPkg::Lock::Timeout=120 update && install; }}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages(Stays):
    """These packages are installed, or the command for which they are wanted is there from elsewhere."""

    names: tuple[str, ...]
    provides: str = ""
    shared: str = ""

    @property
    def label(self) -> str:
        """'packages a b'."""
        return f"packages {' '.join(self.names)}"

    def probe(self) -> str:
        """Print name and state of each that dpkg knows."""
        provided = f"command -v {quote(self.provides)} >/dev/null && echo provided; " if self.provides else ""
        return f"{provided}dpkg-query -W -f '${{Package}} ${{db:Status-Abbrev}}\\n' {' '.join(map(quote, self.names))}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Install what is missing, starting no service."""
        there = {line.split()[0] for line in seen.splitlines() if line.split()[1:] == ["ii"]}
        missing = [name for name in self.names if name not in there]
        if not missing or (self.provides and seen.startswith("provided")):
            return ()
        text = _INSTALL.format(names=" ".join(map(quote, missing)))
        return (change(f"missing: {' '.join(missing)}", text, timeout_seconds=INSTALL_TIMEOUT_SECONDS),)
