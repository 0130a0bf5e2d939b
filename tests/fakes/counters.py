"""nftables as a witness: what of a flood passed a host's firewall, and what went between hosts on the lab's bridge."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

from provision.lab.lab import Lab
from tests.fakes.bookings import SSH

PORTS = 65535
ROUNDS = 5

# A connection that is given up at once has sent its SYN; nothing waits for an answer that may never come.
FLOOD = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
where = socket.getaddrinfo(sys.argv[1], 0, family)[0][4]
udp = socket.socket(family, socket.SOCK_DGRAM)
for port in range(1, 65536):
    there = (where[0], port, *where[2:])
    udp.sendto(b"x", there)
    tcp = socket.socket(family, socket.SOCK_STREAM)
    tcp.setblocking(False)
    tcp.connect_ex(there)
    tcp.close()
"""

# One chain before every firewall, one after Timelock's. SSH is not counted before: our own sessions come there, too.
WATCH = """
table inet witness
delete table inet witness
table inet witness {{
  counter syns {{ }}
  counter datagrams {{ }}
  set passed {{ type inet_proto . inet_service; flags dynamic; size 131072; }}
  chain before {{
    type filter hook prerouting priority -400;
    {family} saddr {source} tcp dport != 22 tcp flags & (syn | ack) == syn counter name syns
    {family} saddr {source} udp length 9 counter name datagrams
  }}
  chain after {{
    type filter hook input priority 100;
    {family} saddr {source} ct state new meta l4proto {{ tcp, udp }} add @passed {{ meta l4proto . th dport }}
  }}
}}
"""

BRIDGE = """
table bridge witness
delete table bridge witness
table bridge witness {{
  counter mesh {{ }}
  counter other {{ }}
  chain between {{
    type filter hook forward priority 0;
    ip saddr {{ {hosts} }} ip daddr {{ {hosts} }} udp sport {port} udp dport {port} counter name mesh accept
    ip saddr {{ {hosts} }} ip daddr {{ {hosts} }} counter name other
    ether type ip6 ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 counter name other
  }}
}}
"""


@dataclass(frozen=True)
class Flooded:
    """What came of sending to every TCP and UDP port once."""

    passed: set[tuple[str, int]]
    complete: bool


def flood(lab: Lab, target: str, *, source: str, address: str, ssh: SSH, sender: str | None) -> Flooded:
    """Send to all ports of `target` at `address`, from the host `sender` or this machine; again if any was lost."""
    family = "ip6" if ":" in address else "ip"
    for _ in range(ROUNDS):
        ssh(lab, target, _load(WATCH.format(family=family, source=source)))
        if sender is None:
            subprocess.run(["python3", "-c", FLOOD, address], check=True, timeout=120)
        else:
            ssh(lab, sender, f"python3 -c {shlex.quote(FLOOD)} {address}")
        found = json.loads(ssh(lab, target, "nft -j list table inet witness; nft delete table inet witness"))
        if _packets(found) == {"syns": PORTS - 1, "datagrams": PORTS}:
            return Flooded(passed=_passed(found), complete=True)
    return Flooded(passed=set(), complete=False)


@dataclass(frozen=True)
class Bridge:
    """Counts what goes between hosts, on the lab's bridge, where no host can hide anything."""

    namespace: str

    def watch(self, addresses: list[str], port: int) -> None:
        self._nft("-f", "-", text=BRIDGE.format(hosts=", ".join(addresses), port=port))

    def counted(self) -> dict[str, int]:
        """Bytes over the plane's port, and packets of any other kind; ends the watch."""
        found = json.loads(self._nft("-j", "list", "table", "bridge", "witness"))
        self._nft("delete", "table", "bridge", "witness")
        counters = [item["counter"] for item in found["nftables"] if "counter" in item]
        return {c["name"]: c["bytes"] if c["name"] == "mesh" else c["packets"] for c in counters}

    def _nft(self, *words: str, text: str = "") -> str:
        command = ["ip", "netns", "exec", self.namespace, "nft", *words]
        return subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=60).stdout


def _load(ruleset: str) -> str:
    return f"echo {shlex.quote(ruleset)} | nft -f -"


def _packets(found: Any) -> dict[str, int]:
    return {item["counter"]["name"]: item["counter"]["packets"] for item in found["nftables"] if "counter" in item}


def _passed(found: Any) -> set[tuple[str, int]]:
    (passed,) = (item["set"] for item in found["nftables"] if "set" in item)
    return {tuple(element["concat"]) for element in passed.get("elem", [])}
