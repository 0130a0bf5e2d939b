"""The parts of a request, each of which can write itself down as plain values (`document`).

A document holds one text for each quantity, whatever the customer wrote, and nothing for what is not limited: it is
what digests and differences are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from provision import units

Wish = Literal["require", "prefer", "any"]
Leaf: TypeAlias = str | int | list[str] | None
Section: TypeAlias = dict[str, Leaf]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuNeed:
    """How many GPUs of which model; with `per_host` and `hosts` exactly so many on exactly so many hosts."""

    model: str
    count: int
    memory_bytes: int | None = None
    per_host: int | None = None
    hosts: int | None = None

    def document(self) -> Section:
        """Return model, count and the limits given."""
        memory = _text(units.format_size, self.memory_bytes)
        return {
            "model": self.model,
            "count": self.count,
            "memory": memory,
            "per_host": self.per_host,
            "hosts": self.hosts,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """[start, end): `start_ns` None is now; one of `end_ns` and `duration_ns` is given."""

    start_ns: int | None = None
    end_ns: int | None = None
    duration_ns: int | None = None

    def document(self) -> Section:
        """Return start, and end or duration."""
        return {
            "start": _text(units.format_instant, self.start_ns) or "now",
            "end": _text(units.format_instant, self.end_ns),
            "duration": _text(units.format_duration, self.duration_ns),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """The largest round trip between any two hosts, and the regions allowed; None and () are no limit."""

    max_rtt_ns: int | None = None
    regions: tuple[str, ...] = ()

    def document(self) -> Section:
        """Return the limits given."""
        return {"max_rtt": _text(units.format_rtt, self.max_rtt_ns), "region": list(self.regions)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The most that the whole window may cost, in millionths of `currency`."""

    max_total_micros: int | None = None
    currency: str | None = None

    def document(self) -> Section:
        """Return the cap, if there is one."""
        if self.max_total_micros is None:
            return {}
        return {"max_total": units.format_money(self.max_total_micros, self.currency or "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierWish:
    """SOC2 evidence valid to the end of the window, and the least data-centre tier (1–4), each a must or a wish."""

    soc2: Wish = "any"
    tier: int | None = None
    tier_wish: Wish = "require"

    def document(self) -> Section:
        """Return what is wished for."""
        return {"soc2": self.soc2, "tier": None if self.tier is None else f"{self.tier_wish} {self.tier}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """One destination outside the mesh that the booking's containers may reach."""

    cidr: str
    port: int
    protocol: Literal["tcp", "udp"] = "tcp"

    def __str__(self) -> str:
        cidr = f"[{self.cidr}]" if ":" in self.cidr else self.cidr
        return f"{cidr}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """`head_cpus`: CPUs that the head offers to tasks."""

    head_cpus: int = 1

    def document(self) -> Section:
        """Return all options."""
        return {"head_cpus": self.head_cpus}


def _text(form: Callable[[int], str], value: int | None) -> str | None:
    return None if value is None else form(value)
