"""Supply ↔ bytes: the canonical form from which its digest is made, and which the cache keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from proofs import canonical
from provision.supply.model import Gpu, Host, Registry, Supply

_PLAIN = tuple(field.name for field in fields(Host) if field.name not in ("gpus", "management"))
_plain_of = attrgetter(*_PLAIN)
_gpu_of = attrgetter("uuid", "index", "model", "memory_bytes", "device")


def supply_of(hosts: Iterable[Host], site_rtt: Mapping[tuple[str, str], int], registry: Registry | None) -> Supply:
    """Return a Supply with its hosts in order and its digest, whatever order they came in."""
    ordered = tuple(sorted(hosts, key=lambda host: host.name))
    pairs = dict(sorted(site_rtt.items()))
    digest = digest_of(encode(Supply(hosts=ordered, site_rtt=pairs, registry=registry, digest="")))
    return Supply(hosts=ordered, site_rtt=pairs, registry=registry, digest=digest)


def encode(supply: Supply) -> bytes:
    """Return the canonical bytes of all but the digest; hosts and GPUs are rows, to keep large ones small."""
    hosts = [[*_plain_of(host), host.management, [_gpu_of(gpu) for gpu in host.gpus]] for host in supply.hosts]
    sites = [[one, other, rtt_ns] for (one, other), rtt_ns in supply.site_rtt.items()]
    registry = supply.registry and [supply.registry.address, supply.registry.ca_file]
    return canonical.encode({"hosts": hosts, "registry": registry, "site_rtt": sites})


def decode(data: bytes) -> Supply:
    """Return the Supply of which `data` are the bytes; trusts them, since their digest was compared."""
    value = json.loads(data)
    registry = value["registry"] and Registry(address=value["registry"][0], ca_file=value["registry"][1])
    return Supply(
        hosts=tuple(_host(row) for row in value["hosts"]),
        site_rtt={(one, other): rtt_ns for one, other, rtt_ns in value["site_rtt"]},
        registry=registry,
        digest=digest_of(data),
    )


def digest_of(data: bytes) -> str:
    """Return the SHA-256 (hex) of bytes."""
    return hashlib.sha256(data).hexdigest()


def _host(row: list[Any]) -> Host:
    *plain, management, gpus = row
    return Host(**dict(zip(_PLAIN, plain, strict=True)), management=tuple(management), gpus=tuple(map(_gpu, gpus)))


def _gpu(row: list[Any]) -> Gpu:
    uuid, index, model, memory_bytes, device = row
    return Gpu(uuid=uuid, index=index, model=model, memory_bytes=memory_bytes, device=device)
