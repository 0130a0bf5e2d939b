"""The survey: can each host of a Plan be reached, with the key and the host key we expect, before it is claimed?

It changes nothing on a host. An unreachable host is a reason why not (the matcher then looks elsewhere); a key that is
refused or a host key that changed is an error for a person to judge, never a reason to quietly take another host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from provision.booking.kept import damaged, read_text
from provision.booking.secrets import write_private
from provision.booking.workers import Run, runner
from provision.errors import HostFailed

if TYPE_CHECKING:
    from provision.supply.model import Host
    from stacks.protocol import Connection

CONNECT_TIMEOUT_SECONDS = 10
PROBE_TIMEOUT_SECONDS = 30
PROBE = (
    'echo "ssh_client=${SSH_CONNECTION%% *}"; echo "uid=$(id -u)"; '
    'echo "systemd=$(systemctl is-system-running 2>/dev/null)"; '
    'echo "free=$(df -B1 --output=avail /srv | tail -n 1 | tr -d " ")"'
)
PIN_ANEW = "delete it, then run the command again: the keys that the plan states are pinned anew"
FREE_BYTES_NEEDED = 4 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """What the survey found: the management networks by host, and why the others cannot be used."""

    management: Mapping[str, tuple[str, ...]]
    why_not: Mapping[str, str]


def pin_host_keys(hosts: Iterable[Host], known_hosts: Path) -> None:
    """Pin the keys that the inventory states; those of hosts that were replaced stay, since they may have to be erased.

    Raises:
        HostFailed: the inventory states no key for a host, so nothing could be checked.
        MachineCannot: the file is damaged.
    """
    pinned = _pinned(known_hosts) | dict(_pin(host) for host in hosts)
    write_private(known_hosts, "".join(f"{name} {key}\n" for name, key in sorted(pinned.items())))


def _pinned(known_hosts: Path) -> dict[str, str]:
    if not known_hosts.exists() or not known_hosts.stat().st_size:
        return {}
    what = "pinned host keys, a name and a key a line"
    pairs = [line.split(" ", 1) for line in read_text(known_hosts, what, PIN_ANEW).splitlines()]
    if any(len(pair) != 2 for pair in pairs):
        raise damaged(known_hosts, what, PIN_ANEW)
    return {name: key for name, key in pairs}


def _pin(host: Host) -> tuple[str, str]:
    if host.host_key is None:
        raise HostFailed(
            host=host.name,
            step="pin host key",
            kind="host_key",
            cause="expected its public SSH host key in the inventory (timelock_host_key), found none",
            next_step=f"read it on {host.name} itself (cat /etc/ssh/ssh_host_ed25519_key.pub) and state it there",
        )
    name = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
    return name, host.host_key.strip()


def connection_to(host: Host, known_hosts: Path) -> Connection:
    """How a worker reaches `host`, accepting only the keys in `known_hosts`."""
    from stacks.protocol import Connection

    return Connection(
        address=host.address,
        port=host.port,
        user=host.user,
        key_file=str(host.key_file),
        known_hosts_file=str(known_hosts),
        connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
    )


def survey(hosts: tuple[Host, ...], known_hosts: Path) -> Surveyed:
    """Ask every host at once; takes as long as the slowest, at most the connect and probe limits.

    Raises:
        HostFailed: a host refused our key, or shows another host key than the pinned one.
    """
    return asyncio.run(_survey(hosts, known_hosts))


async def _survey(hosts: tuple[Host, ...], known_hosts: Path) -> Surveyed:
    connections = {host.name: connection_to(host, known_hosts) for host in hosts}
    async with runner(connections) as run:
        found = await asyncio.gather(*(_ask(run, host) for host in hosts))
    management = {host.name: nets for host, (nets, reason) in zip(hosts, found, strict=True) if not reason}
    why_not = {host.name: reason for host, (_, reason) in zip(hosts, found, strict=True) if reason}
    return Surveyed(management=management, why_not=why_not)


async def _ask(run: Run, host: Host) -> tuple[tuple[str, ...], str]:
    try:
        answer = await run(host.name, PROBE, timeout_seconds=PROBE_TIMEOUT_SECONDS)
    except HostFailed as error:
        if error.kind in {"unreachable", "timeout"}:
            return (), "unreachable"
        raise
    return judge(host, dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line))


def judge(host: Host, facts: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """From what the probe printed: the networks that may manage the host, or why it cannot be used."""
    if facts.get("uid") != "0":
        return (), "no root over SSH"
    if facts.get("systemd") not in {"running", "degraded", "starting", "initializing"}:
        return (), "no systemd"
    if not facts.get("free", "").isdigit() or int(facts["free"]) < FREE_BYTES_NEEDED:
        return (), f"less than {FREE_BYTES_NEEDED // 10**9} GB free under /srv"
    client = facts.get("ssh_client", "")
    stated = tuple(host.management)
    if stated and not any(ip_address(client) in ip_network(net) for net in stated):
        return (), f"reached from {client}, outside its stated management networks"
    return stated or (f"{client}/{ip_address(client).max_prefixlen}",), ""
