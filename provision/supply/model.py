"""What suppliers offer: hosts with their GPUs, where they stand, what they cost and how to reach them.

Values only; inventories are read in inventory.py. Measured facts (round trips, SOC2 dates) are as old as their source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provision import units

SAME_SITE_RTT_NS = units.parse_rtt("0.2ms")
UNMEASURED_NS = 2**60
"""The round trip between sites of which none was measured: farther than any limit, so they are never combined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU of a host, by UUID."""

    uuid: str
    index: int
    model: str
    memory_bytes: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine of a supplier. `soc2_until_ns`: its SOC2 evidence counts up to here; None: there is none."""

    name: str
    supplier: str
    site: str
    region: str
    tier: int | None
    soc2_until_ns: int | None
    price_micros_per_gpu_hour: int
    currency: str
    access_rtt_ns: int
    address: str
    port: int
    user: str
    key_file: str
    host_key: str | None
    cpus: int
    memory_bytes: int
    gpus: tuple[Gpu, ...]
    management: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where hosts pull images from: 'host:port', and the file of the CA that signed its certificate."""

    address: str
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """All hosts that could be booked, by name; `site_rtt` has each pair of sites once, in alphabetical order."""

    hosts: tuple[Host, ...]
    site_rtt: Mapping[tuple[str, str], int]
    registry: Registry | None
    digest: str

    def site_rtt_ns(self, one: str, other: str) -> int:
        """Return the round trip between two sites; within one it is 0.2 ms unless measured."""
        pair = (one, other) if one <= other else (other, one)
        return self.site_rtt.get(pair, SAME_SITE_RTT_NS if one == other else UNMEASURED_NS)

    def rtt_ns(self, one: Host, other: Host) -> int:
        """Return the expected round trip between two hosts: access, site to site, access."""
        if one.name == other.name:
            return 0
        return one.access_rtt_ns + self.site_rtt_ns(one.site, other.site) + other.access_rtt_ns
