"""Writes a lab's hosts down as an Ansible inventory, as a supplier would hand one in.

The hosts differ a little in site, price and tier, so that matching has something to decide.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provision.lab.gpus import gpu_uuid
from provision.lab.host import LabHost
from provision.lab.network import REGISTRY_PORT

GPU_MODEL = "H100"
GPU_MEMORY = "80GB"
MAX_MEMORY_BYTES = 16 * 2**30
NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a supplier says of a host: where it stands, on which tier, for how much, audited how long ago."""

    supplier: str
    site: str
    tier: int
    price: str
    audited_days_ago: int


OFFERS = (
    Offer(supplier="lab-north", site="fra1", tier=4, price="2.40 EUR", audited_days_ago=30),
    Offer(supplier="lab-north", site="fra2", tier=3, price="2.20 EUR", audited_days_ago=60),
    Offer(supplier="lab-west", site="ams1", tier=3, price="2.10 EUR", audited_days_ago=90),
    Offer(supplier="lab-west", site="ams1", tier=3, price="2.30 EUR", audited_days_ago=90),
)
REGION = "eu"
SITE_RTT = {"fra1": {"fra2": "0.6ms", "ams1": "3.1ms"}, "fra2": {"ams1": "3.3ms"}}


def inventory(
    hosts: Sequence[LabHost], *, key_file: Path, ca_file: Path | None, created_ns: int, cpus: int, memory_bytes: int
) -> dict[str, Any]:
    """Give the inventory of these hosts, in the form Ansible's YAML files have."""
    shared: dict[str, Any] = {"timelock_site_rtt": SITE_RTT}
    if ca_file is not None:
        shared |= {
            "timelock_registry": f"{hosts[0].network.controller}:{REGISTRY_PORT}",
            "timelock_registry_ca_file": str(ca_file),
        }
    entries = {
        host.name: _host(host, key_file=key_file, created_ns=created_ns, cpus=cpus, memory_bytes=memory_bytes)
        for host in hosts
    }
    return {"all": {"vars": shared, "children": {"lab": {"hosts": entries}}}}


def write_inventory(path: Path, content: dict[str, Any]) -> None:
    """Write the inventory so that a reader sees the old or the new one, whole."""
    partial = path.with_suffix(".partial")
    partial.write_text(yaml.safe_dump(content, sort_keys=False))
    partial.replace(path)


def machine_share() -> tuple[int, int]:
    """Give the CPUs and the memory (bytes, a quarter of the machine's) that each host offers; all share them."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return os.cpu_count() or 1, min(MAX_MEMORY_BYTES, total // 4 // 2**30 * 2**30 or 2**30)


def _host(host: LabHost, *, key_file: Path, created_ns: int, cpus: int, memory_bytes: int) -> dict[str, Any]:
    offer = OFFERS[(host.index - 1) % len(OFFERS)]
    made = datetime.datetime.fromtimestamp(created_ns // NS_PER_SECOND, datetime.UTC).date()
    return {
        "ansible_host": host.address,
        "ansible_port": 22,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key_file),
        "timelock_supplier": offer.supplier,
        "timelock_site": offer.site,
        "timelock_region": REGION,
        "timelock_tier": offer.tier,
        "timelock_price_per_gpu_hour": offer.price,
        "timelock_soc2_report_date": (made - datetime.timedelta(days=offer.audited_days_ago)).isoformat(),
        "timelock_access_rtt": "0.1ms",
        "timelock_cpus": cpus,
        "timelock_memory": f"{memory_bytes // 2**30}GiB",
        "timelock_host_key": host.public_key,
        "timelock_management": [f"{host.network.controller}/32"],
        "timelock_gpus": [
            {
                "uuid": gpu_uuid(host.name, index),
                "index": index,
                "model": GPU_MODEL,
                "memory": GPU_MEMORY,
                "device": f"/dev/nvidia{index}",
            }
            for index in range(host.gpus)
        ],
    }
