"""A lab's network: a bridge in a namespace of its own, the controller's leg to it, and the firewall of that leg.

The bridge stands outside the machine's own namespace, where another engine's FORWARD policy would stop it. Names and
addresses follow from the lab's number alone, so that whoever knows the number can clear the lab.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from provision.lab.tool import run

TIMEOUT_SECONDS = 30.0
NUMBERS = range(256)
FIRST_HOST = 11
LAST_HOST = 250
REGISTRY_PORT = 5000
PROXY_PORT = 3128
NETNS = Path("/run/netns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The names and addresses of the lab with this number."""

    number: int

    @property
    def name(self) -> str:
        """The name of the namespace, of the controller's leg and, with an underscore, of the firewall table."""
        return f"tl-lab{self.number}"

    @property
    def table(self) -> str:
        """The nftables table (family inet) in the machine's own namespace."""
        return f"timelock_lab{self.number}"

    @property
    def group(self) -> str:
        """The control group that holds all of the lab's processes."""
        return f"timelock-lab{self.number}"

    @property
    def subnet(self) -> str:
        """The lab's addresses, as a CIDR."""
        return f"10.77.{self.number}.0/24"

    @property
    def controller(self) -> str:
        """The address of the machine in the lab: management, registry, package proxy."""
        return f"10.77.{self.number}.1"

    def host_address(self, index: int) -> str:
        """The address of the host with this index (from 1)."""
        return f"10.77.{self.number}.{FIRST_HOST + index - 1}"

    def mac(self, last: int) -> str:
        """A fixed hardware address: a random one costs up to a minute of stale ARP when a host is made again."""
        return f"02:4c:41:4d:{self.number:02x}:{last:02x}"

    def host_mac(self, index: int) -> str:
        """The hardware address of the host with this index (from 1)."""
        return self.mac(FIRST_HOST + index - 1)


def up(network: Network) -> None:
    """Make what is missing of the lab's network; the firewall stands before the first packet can pass."""
    _nft(ruleset(network))
    if not (NETNS / network.name).exists():
        _run("ip", "netns", "add", network.name)
    if not _link(network.name, "br0"):
        _run("ip", "-n", network.name, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    _batch(network.name, "link set lo up", "link set br0 up")
    if not _link(None, network.name):
        mac = network.mac(1)
        _run(
            "ip",
            "link",
            "add",
            network.name,
            "address",
            mac,
            "type",
            "veth",
            "peer",
            "name",
            "controller",
            "netns",
            network.name,
        )
    _batch(network.name, "link set controller master br0 up")
    _batch(
        None,
        f"link set {network.name} addrgenmode none",
        f"addr replace {network.controller}/24 dev {network.name}",
        f"link set {network.name} up",
    )


def down(network: Network) -> None:
    """Remove the lab's network, whatever of it there is."""
    if _link(None, network.name):
        _run("ip", "link", "del", network.name)
    if (NETNS / network.name).exists():
        _run("ip", "netns", "del", network.name)
    _nft(f"table inet {network.table}\ndelete table inet {network.table}\n")


def know_host(network: Network, index: int) -> None:
    """Note a host's hardware address on the controller's side, which then never asks, waits, or believes another."""
    address, mac = network.host_address(index), network.host_mac(index)
    _batch(None, f"neigh replace {address} lladdr {mac} dev {network.name} nud permanent")


def ruleset(network: Network) -> str:
    """Give the firewall of the controller's leg: registry, package proxy and echo; nothing is forwarded."""
    return f"""\
table inet {network.table}
delete table inet {network.table}
table inet {network.table} {{
  chain input {{
    type filter hook input priority -10; policy accept;
    iifname "{network.name}" jump from_hosts
  }}
  chain from_hosts {{
    ct state established,related accept
    ip saddr {network.subnet} ip daddr {network.controller} tcp dport {{ {PROXY_PORT}, {REGISTRY_PORT} }} accept
    ip saddr {network.subnet} ip daddr {network.controller} icmp type echo-request limit rate 20/second accept
    counter drop
  }}
  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname "{network.name}" counter drop
    oifname "{network.name}" counter drop
  }}
}}
"""


def taken_numbers() -> set[int]:
    """Give the lab numbers whose addresses this machine already uses or routes, for whatever purpose."""
    return routed_numbers(run(["ip", "-4", "route", "show", "table", "all"], timeout_seconds=TIMEOUT_SECONDS))


def routed_numbers(routes: str) -> set[int]:
    """Read lab numbers from a routing table; a route wider than a /16, such as the default, takes none."""
    networks = [
        found for line in routes.splitlines() if (found := _destination(line)) is not None and found.prefixlen >= 16
    ]
    return {
        number
        for number in NUMBERS
        if any(found.overlaps(ipaddress.IPv4Network(Network(number=number).subnet)) for found in networks)
    }


def _destination(route: str) -> ipaddress.IPv4Network | None:
    words = [word for word in route.split() if word not in ("local", "broadcast", "unreachable", "blackhole")]
    try:
        return ipaddress.IPv4Network(words[0], strict=False)
    except (ValueError, IndexError):
        return None


def _link(namespace: str | None, name: str) -> bool:
    shown = _run("ip", *_namespace(namespace), "-brief", "link", "show")
    return any(line.split()[0].partition("@")[0] == name for line in shown.splitlines() if line)


def _batch(namespace: str | None, *lines: str) -> None:
    run(
        ["ip", *_namespace(namespace), "-batch", "-"],
        stdin="".join(f"{line}\n" for line in lines),
        timeout_seconds=TIMEOUT_SECONDS,
    )


def _namespace(namespace: str | None) -> tuple[str, ...]:
    return ("-n", namespace) if namespace else ()


def _nft(text: str) -> None:
    run(["nft", "-f", "-"], stdin=text, timeout_seconds=TIMEOUT_SECONDS)


def _run(*words: str) -> str:
    return run(words, timeout_seconds=TIMEOUT_SECONDS)
