"""Role 'firewall': what may reach a booked host: SSH from management, a few pings, WireGuard from the booking's peers.

One table, `inet timelock`, for all bookings of the host, each with a fragment of its own; nobody else's table is
touched. Input and forward drop by default and count what they drop. Connections under way stay, and a firewall that
would shut out the session that sets it up is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from provision.deploys.errors import StepFailed
from provision.deploys.item import Change, Item, Stays, quote
from provision.deploys.items.files import Directory, File
from provision.deploys.items.packages import Packages
from provision.deploys.items.tables import LOCK, NftTable
from provision.deploys.items.units import Unit
from provision.deploys.places import CONFIG
from provision.deploys.role import Role
from provision.deploys.templates import render

GROUP = "firewall"
TABLE = ("inet", "timelock")
_BASE = f"{CONFIG}/firewall.nft"
_FRAGMENTS = f"{CONFIG}/firewall.d"


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(Stays):
    """The session under way comes from management, to the SSH port; else the next one would be shut out."""

    management: tuple[str, ...]
    ssh_port: int
    shared: str = ""

    @property
    def label(self) -> str:
        """'management'."""
        return "management"

    def probe(self) -> str:
        """Print client address and port, server address and port."""
        return 'echo "$SSH_CONNECTION"'

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Refuse what would lock us out."""
        if not seen:
            return ()
        client, _, _, port = seen.split()
        address = ipaddress.ip_address(client.removeprefix("::ffff:"))
        if not any(address in ipaddress.ip_network(network) for network in self.management):
            cause = f"this session comes from {address}, which is not in {', '.join(self.management) or 'management'}"
            raise StepFailed(self.label, cause, next_step=f"add {address} to timelock_management of the host")
        if int(port) != self.ssh_port:
            cause = f"this session arrived at port {port}, but port {self.ssh_port} would be opened"
            raise StepFailed(self.label, cause, next_step="reach the host at the port on which its sshd listens")
        return ()


class Firewall(Role):
    """Parameters: who may use SSH, and which addresses may send to which WireGuard ports."""

    management: Annotated[tuple[Network, ...], Field(min_length=1)]
    ssh_port: Port = 22
    peers: tuple[Network, ...] = ()
    udp_ports: tuple[Port, ...] = ()

    def items(self) -> tuple[Item, ...]:
        """Base and fragment, the unit that loads them at boot, the table in the kernel."""
        base = File(path=_BASE, content=render("firewall.nft", fragments=_FRAGMENTS), mode=0o600, shared=GROUP)
        fragment = File(
            path=f"{_FRAGMENTS}/{self.booking}.nft", content=self._fragment(), mode=0o600, after=f"( {_follow()} )"
        )
        unit = render("firewall.service", base=_BASE, fragments=_FRAGMENTS)
        family, name = TABLE
        return (
            Admitted(management=self.management, ssh_port=self.ssh_port),
            Packages(names=("nftables",), shared=GROUP),
            Directory(path=CONFIG, shared=GROUP, ours=True),
            Directory(path=_FRAGMENTS, shared=GROUP, ours=True),
            base,
            fragment,
            Unit(name="timelock-firewall.service", content=unit, shared=GROUP),
            NftTable(family=family, name=name, file=_BASE, follows=(base.label, fragment.label), shared=GROUP),
        )

    def _fragment(self) -> str:
        return render(
            "firewall-booking.nft",
            booking=self.booking,
            ssh_port=self.ssh_port,
            management=_families(self.management),
            peers=_families(self.peers),
            udp_ports=sorted(self.udp_ports),
        )


def _follow() -> str:
    """Return shell text that brings the table, if it is in force, in line with the fragments that there are.

    With the last fragment goes the table, in the same command: without any, SSH would be shut out, and whoever dies
    there could never come back.
    """
    table = " ".join(TABLE)
    lock = f"flock -o -w 30 {LOCK} sh -c"
    either = f"if ls {_FRAGMENTS}/*.nft >/dev/null 2>&1; then nft -f {_BASE}; else nft delete table {table}; fi"
    return f"nft list table {table} >/dev/null 2>&1 || exit 0\n{lock} {quote(either)}"


def _families(networks: Sequence[str]) -> dict[str, list[str]]:
    """Sort networks by nft's word for their family; an address alone is written as such."""
    sorted_networks: dict[str, list[str]] = {}
    for network in map(ipaddress.ip_network, sorted(set(networks))):
        family = "ip" if network.version == 4 else "ip6"
        single = network.num_addresses == 1
        sorted_networks.setdefault(family, []).append(str(network.network_address if single else network))
    return sorted_networks


ROLE = Firewall
