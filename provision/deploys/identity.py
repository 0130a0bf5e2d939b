"""Role 'identity': the booking's private directory on the host, its WireGuard keys, and what the host says of itself.

Keys are made on the host and never leave it; only their public halves are told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from provision.deploys.item import Change, Cleared, Item, Told, change, quote
from provision.deploys.items.files import Directory, File
from provision.deploys.items.packages import Packages
from provision.deploys.places import BEFORE, BOOKINGS, HOLDERS, RUN, STATE, booking_state
from provision.deploys.role import Role, Seen

_ABOUT = """\
echo "machine_id $(cat /etc/machine-id)"
echo "kernel $(uname -r)"
if [ -e /sys/module/wireguard ] || modprobe -nq wireguard; then echo 'wireguard kernel'
elif command -v wireguard-go >/dev/null; then echo 'wireguard userspace'; else echo 'wireguard none'; fi
echo "docker $(dockerd --version | sed -n 's/^Docker version \\([^,]*\\),.*/\\1/p')\""""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """A WireGuard private key, readable by root only."""

    path: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'key /path'."""
        return f"key {self.path}"

    def probe(self) -> str:
        """Print the mode, and the public half."""
        path = quote(self.path)
        return f"stat -c '%a %U:%G' {path} && wg pubkey < {path}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Make the key once; correct the mode. A file that holds no key is replaced."""
        path = quote(self.path)
        mode, _, public = seen.partition("\n")
        if not public:
            make = f"(umask 077 && wg genkey > {path}.timelock && mv -fT {path}.timelock {path})"
            return (change("holds no key" if mode else "absent", f"wg pubkey < {path} >/dev/null 2>&1 || {make}"),)
        if mode != "600 root:root":
            return (change(f"is {mode}, should be 600 root:root", f"chown root:root {path} && chmod 600 {path}"),)
        return ()

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Overwrite and remove the key."""
        return (change("no longer wanted", f"shred -u {quote(self.path)} || rm -f {quote(self.path)}"),) if seen else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class About(Told):
    """Facts about the host."""

    shared: str = ""

    @property
    def label(self) -> str:
        """'host'."""
        return "host"

    def probe(self) -> str:
        """Print machine id, kernel, kind of WireGuard, version of the host's Docker."""
        return _ABOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground(Cleared):
    """What all roles stand on: the host's state directory and the booking's lock, cleared when nothing is in them."""

    booking: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'directory' and the state directory."""
        return f"directory {STATE}"

    def probe(self) -> str:
        """Print the lock, and the state directory when no other booking is in it."""
        others = f"ls -A {BOOKINGS} | grep -vxF {quote(self.booking)}"
        return f'ls {self._lock}; [ -d {STATE} ] && [ -z "$({others})" ] && echo {STATE}'

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove the lock, and every directory of ours that is empty."""
        if not seen:
            return ()
        text = (
            f"rm -f {self._lock}\n"
            f"rmdir {BOOKINGS} {HOLDERS} {BEFORE} {STATE} 2>/dev/null || :\n"
            f"[ -d {STATE} ] || rm -f {RUN}/shared.lock {RUN}/nft.lock\n"
            f"rmdir {RUN} 2>/dev/null || :"
        )
        return (change("no longer wanted", text),)

    @property
    def _lock(self) -> str:
        return quote(f"{RUN}/{self.booking}.lock")


class Identity(Role):
    """Parameters: the planes of the mesh for which the host needs a key."""

    planes: Annotated[tuple[Annotated[int, Field(ge=0, le=15)], ...], Field(min_length=1)]

    def items(self) -> tuple[Item, ...]:
        """Directory and marker, then a key a plane."""
        home = booking_state(self.booking)
        marker = json.dumps({"booking": self.booking, "v": 1}, sort_keys=True) + "\n"
        return (
            Ground(booking=self.booking),
            Directory(path=home, mode=0o700, private=True),
            File(path=f"{home}/booking.json", content=marker, mode=0o600),
            Packages(names=("wireguard-tools",)),
            *(self._key(plane) for plane in self.planes),
            About(),
        )

    def outputs(self, seen: Seen) -> dict[str, object]:
        """Public keys by plane, and facts about the host."""
        facts = dict.fromkeys(("machine_id", "kernel", "wireguard", "docker"), "")
        facts |= dict(line.partition(" ")[::2] for line in seen[About().label].splitlines())
        keys = {str(plane): seen[self._key(plane).label].partition("\n")[2] for plane in self.planes}
        return {"public_keys": keys, **facts}

    def _key(self, plane: int) -> PrivateKey:
        return PrivateKey(path=f"{booking_state(self.booking)}/wireguard-{plane}.key")


ROLE = Identity
