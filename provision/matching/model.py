"""What matching gives: a Plan that can be claimed and applied as it is, or a WhyNot that says what stands in the way.

Values only. The bytes of a Plan are canonical: equal plans have equal digests, and what is applied is what was planned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from proofs import canonical
from provision.errors import MachineCannot
from provision.supply.model import Gpu, Host

VERSION = 1

Counts = tuple[tuple[str, int], ...]
"""How many hosts each reason ruled out: each host once, under the first reason that applies, in a fixed order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedHost:
    """A host and those of its GPUs that the booking takes."""

    host: Host
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The hosts of a booking, the head first, for [start, end), and what the whole window costs.

    The counts of `why_not` and the planned hosts together are the hosts that were considered.
    """

    name: str
    start_ns: int
    end_ns: int
    image: str
    hosts: tuple[PlannedHost, ...]
    worst_rtt_ns: int
    price_micros: int
    currency: str
    why_not: Counts
    request_digest: str
    supply_digest: str

    @property
    def gpu_count(self) -> int:
        """GPUs of all hosts together."""
        return sum(len(planned.gpus) for planned in self.hosts)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical bytes."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """Return the canonical bytes of the Plan."""
        hosts = [{"host": asdict(p.host), "gpus": [gpu.uuid for gpu in p.gpus]} for p in self.hosts]
        fields = {name: getattr(self, name) for name in _PLAIN}
        return canonical.encode({"v": VERSION, "hosts": hosts, "why_not": self.why_not, **fields})

    @classmethod
    def decode(cls, data: bytes) -> Plan:
        """Return the Plan of which `data` are the canonical bytes.

        Raises:
            MachineCannot: the bytes are not a Plan of this version; the state they came from is damaged.
        """
        try:
            value: Any = canonical.decode(data)
            if value.pop("v") != VERSION:
                raise ValueError(f"expected version {VERSION}")
            hosts = tuple(_planned(item) for item in value.pop("hosts"))
            why_not = tuple((str(reason), int(count)) for reason, count in value.pop("why_not"))
            plan = cls(hosts=hosts, why_not=why_not, **value)
            if plan.encode() != data:
                raise ValueError("expected each field in its own type")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MachineCannot(
                f"plan: expected the canonical bytes of a plan, found something else ({type(error).__name__}: {error})",
                next_step="restore the ledger from a backup, or release the booking and book again",
            ) from error
        return plan


_PLAIN = (
    "name",
    "start_ns",
    "end_ns",
    "image",
    "worst_rtt_ns",
    "price_micros",
    "currency",
    "request_digest",
    "supply_digest",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNot:
    """Nothing fits: GPUs needed, the most that could be had together, hosts by reason, and what to relax."""

    needed: int
    available: int
    reasons: Counts
    hint: str


def _planned(item: Mapping[str, Any]) -> PlannedHost:
    """Rebuild one planned host from its plain values."""
    fields = dict(item["host"])
    gpus = tuple(Gpu(**gpu) for gpu in fields.pop("gpus"))
    host = Host(gpus=gpus, management=tuple(fields.pop("management")), **fields)
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    return PlannedHost(host=host, gpus=tuple(by_uuid[uuid] for uuid in item["gpus"]))
