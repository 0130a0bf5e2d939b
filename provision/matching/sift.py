"""Host by host: who fits a request at all, and the first reason of each who does not.

The rules are a table, in the order in which reasons are given: what a host is, what it costs, then how it is now.
Which of the fitting hosts go well together is choose.py's question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from provision.matching import price
from provision.matching.model import Counts
from provision.request.model import Accepted
from provision.supply.model import Gpu, Host, Supply

EXCLUDED = ""
"""Stands in the table where the caller's own reason for excluding a host is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What holds while matching: GPUs taken by others and held by this booking, hosts excluded and hosts to keep."""

    taken: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    excluded: Mapping[str, str]
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A host that fits by itself, with the GPUs it offers; `unmet` counts the preferences it does not meet."""

    host: Host
    gpus: tuple[Gpu, ...]
    unmet: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """The candidates by host name, and the counts of all other hosts by reason."""

    candidates: tuple[Candidate, ...]
    reasons: Counts


class Sieve:
    """The rules for one wish in one situation."""

    def __init__(self, wish: Accepted, supply: Supply, situation: Situation) -> None:
        self._wish = wish
        self._situation = situation
        self._others = situation.taken - situation.held
        wanted = plain(wish.gpu.model)
        models = {gpu.model for host in supply.hosts for gpu in host.gpus}
        self._models = {model for model in models if plain(model) == wanted}
        cap = wish.price.max_total_micros
        self._highest_rate = None if cap is None else price.highest_rate(cap, wish.seconds)
        self._needed = wish.gpu.per_host or 1

    def rules(self) -> tuple[tuple[str, Callable[[Host], bool]], ...]:
        """Return (reason, whether a host passes), in the order in which they are asked."""
        supplier = self._wish.supplier
        return (
            ("another GPU model", self._has_model),
            ("too little GPU memory", self._has_memory),
            ("fewer GPUs than gpu.per_host", self._has_enough),
            ("outside near.region", self._in_region),
            ("no SOC2 evidence to the window's end", lambda host: supplier.soc2 != "require" or self._soc2(host)),
            ("data-centre tier too low", lambda host: supplier.tier_wish != "require" or self._tier(host)),
            ("priced in another currency", self._in_currency),
            ("alone dearer than price.max_total", self._affordable),
            (EXCLUDED, lambda host: host.name not in self._situation.excluded),
            ("GPUs claimed in the window", lambda host: len(self._free(host)) >= self._needed),
        )

    def candidate(self, host: Host) -> Candidate:
        """Return what a host that passed (or is kept) offers."""
        mine = tuple(gpu for gpu in host.gpus if gpu.uuid in self._situation.held)
        kept = host.name in self._situation.keep
        unmet = (self._wish.supplier.soc2 == "prefer" and not self._soc2(host)) + (not self._tier(host))
        gpus = mine if kept and mine else self._free(host)[: self._wish.gpu.per_host]
        return Candidate(host=host, gpus=gpus, unmet=0 if kept else unmet)

    def _fitting(self, host: Host) -> tuple[Gpu, ...]:
        least = self._wish.gpu.memory_bytes or 0
        return tuple(gpu for gpu in host.gpus if gpu.model in self._models and gpu.memory_bytes >= least)

    def _free(self, host: Host) -> tuple[Gpu, ...]:
        return tuple(gpu for gpu in self._fitting(host) if gpu.uuid not in self._others)

    def _has_model(self, host: Host) -> bool:
        return any(gpu.model in self._models for gpu in host.gpus)

    def _has_memory(self, host: Host) -> bool:
        return bool(self._fitting(host))

    def _has_enough(self, host: Host) -> bool:
        return len(self._fitting(host)) >= self._needed

    def _in_region(self, host: Host) -> bool:
        region = host.region.lower()
        wanted = self._wish.near.regions
        return not wanted or any(region == name or region.startswith(f"{name}-") for name in wanted)

    def _soc2(self, host: Host) -> bool:
        return host.soc2_until_ns is not None and host.soc2_until_ns >= self._wish.end_ns

    def _tier(self, host: Host) -> bool:
        return self._wish.supplier.tier is None or (host.tier or 0) >= self._wish.supplier.tier

    def _in_currency(self, host: Host) -> bool:
        return self._wish.price.currency in (None, host.currency)

    def _affordable(self, host: Host) -> bool:
        return self._highest_rate is None or host.price_micros_per_gpu_hour * self._needed <= self._highest_rate


def sift(wish: Accepted, supply: Supply, situation: Situation) -> Sifted:
    """Divide the hosts of the supply into candidates and reasons; a host to keep passes unless it is excluded."""
    sieve = Sieve(wish, supply, situation)
    rules = sieve.rules()
    candidates, counts = [], Counter[tuple[int, str]]()
    for host in sorted(supply.hosts, key=lambda host: host.name):
        kept = host.name in situation.keep and host.name not in situation.excluded
        place = None if kept else next((n for n, (_, passes) in enumerate(rules) if not passes(host)), None)
        if place is None:
            candidates.append(sieve.candidate(host))
        else:
            counts[place, rules[place][0] or situation.excluded[host.name]] += 1
    reasons = tuple((reason, count) for (_, reason), count in sorted(counts.items()))
    return Sifted(candidates=tuple(candidates), reasons=reasons)


def plain(model: str) -> str:
    """Return a model's name as it is compared: 'NVIDIA H100' and 'h100' are one."""
    return model.casefold().removeprefix("nvidia ").strip()
