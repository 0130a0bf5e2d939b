"""What would help: each limit is lifted alone, and where that gives a Plan, the Plan says by how much.

A suggestion is a change of one field of the request, with its new value; what the customer cannot change comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from provision import units
from provision.matching.attempt import attempt
from provision.matching.choose import UNLIMITED_NS
from provision.matching.model import Plan
from provision.matching.sift import Situation, plain
from provision.request.model import Accepted, GpuNeed, Near, Price, SupplierWish
from provision.supply.model import Supply

MOST_SUGGESTIONS = 3
MOST_NAMES = 8
CENT_MICROS = 10_000
RTT_STEP_NS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """The wish without one limit, and what to tell of the Plan that this gives."""

    wish: Accepted
    tell: Callable[[Plan], str]


def hint(wish: Accepted, supply: Supply, situation: Situation, available: int) -> str:
    """Return what to change so that something fits: 'raise price.max_total to 61.20 EUR, or …'."""
    models = {gpu.model for host in supply.hosts for gpu in host.gpus}
    if plain(wish.gpu.model) not in map(plain, models):
        names = ", ".join(sorted(models)[:MOST_NAMES])
        return f"set gpu.model to one that the supply has: {names}" if names else "add hosts with GPUs to the inventory"
    told = [text for text in _told(wish, supply, situation) if text]
    if available:
        hosts = wish.gpu.per_host and available // wish.gpu.per_host
        told.append(f"lower gpu.count to {available}" + (f" and gpu.hosts to {hosts}" if hosts else ""))
    told += _told_of_situation(wish, supply, situation)
    return ", or ".join(told[:MOST_SUGGESTIONS]) or "relax several limits together, or add hosts to the inventory"


def _told(wish: Accepted, supply: Supply, situation: Situation) -> Iterator[str]:
    for relaxation in (*_of_place_and_price(wish), *_of_kind(wish)):
        plan = attempt(relaxation.wish, supply, situation)
        if isinstance(plan, Plan):
            yield relaxation.tell(plan)


def _of_place_and_price(wish: Accepted) -> Iterator[Relaxation]:
    near, price = wish.near, wish.price
    if price.max_total_micros is not None:
        cheapest = replace(near, max_rtt_ns=UNLIMITED_NS if near.max_rtt_ns is None else near.max_rtt_ns)
        same = replace(wish, price=Price(currency=price.currency), near=cheapest)
        yield Relaxation(wish=same, tell=lambda plan: f"raise price.max_total to {_money(plan)}")
        other = replace(wish, price=Price(), near=cheapest)
        yield Relaxation(wish=other, tell=lambda plan: _in_other_currency(plan, price))
    if near.max_rtt_ns is not None:
        anywhere = replace(wish, near=Near(regions=near.regions))
        yield Relaxation(wish=anywhere, tell=lambda plan: f"raise near.max_rtt to {_rtt(plan)}")
    if near.regions:
        everywhere = replace(wish, near=Near(max_rtt_ns=near.max_rtt_ns))
        yield Relaxation(wish=everywhere, tell=_regions)


def _of_kind(wish: Accepted) -> Iterator[Relaxation]:
    gpu, supplier = wish.gpu, wish.supplier
    if gpu.memory_bytes is not None:
        yield Relaxation(wish=replace(wish, gpu=replace(gpu, memory_bytes=None)), tell=_memory)
    if gpu.per_host is not None:
        spread = GpuNeed(model=gpu.model, count=gpu.count, memory_bytes=gpu.memory_bytes)
        yield Relaxation(wish=replace(wish, gpu=spread), tell=lambda _: "leave out gpu.per_host and gpu.hosts")
    if supplier.soc2 == "require":
        preferred = replace(supplier, soc2="prefer")
        yield Relaxation(wish=replace(wish, supplier=preferred), tell=lambda _: "set supplier.soc2 to prefer")
    if supplier.tier is not None and supplier.tier_wish == "require":
        yield Relaxation(wish=replace(wish, supplier=SupplierWish(soc2=supplier.soc2)), tell=_tier)


def _told_of_situation(wish: Accepted, supply: Supply, situation: Situation) -> Iterator[str]:
    if isinstance(attempt(wish, supply, replace(situation, taken=frozenset())), Plan):
        yield "choose another window (GPUs that would fit are claimed in this one)"
    if isinstance(attempt(wish, supply, replace(situation, excluded={})), Plan):
        names = ", ".join(sorted(situation.excluded)[:MOST_NAMES])
        yield f"bring back hosts that were left out ({names})"


def _money(plan: Plan) -> str:
    """Return the Plan's price, rounded up to a cent."""
    return units.format_money(-(-plan.price_micros // CENT_MICROS) * CENT_MICROS, plan.currency)


def _in_other_currency(plan: Plan, price: Price) -> str:
    return "" if plan.currency == price.currency else f"set price.max_total to {_money(plan)}"


def _rtt(plan: Plan) -> str:
    """Return the Plan's worst round trip, rounded up to 10 µs."""
    return units.format_rtt(-(-plan.worst_rtt_ns // RTT_STEP_NS) * RTT_STEP_NS)


def _regions(plan: Plan) -> str:
    regions = sorted({planned.host.region for planned in plan.hosts})
    return f"set near.region to [{', '.join(regions)}]" if all(regions) else "leave out near.region"


def _memory(plan: Plan) -> str:
    least = min(gpu.memory_bytes for planned in plan.hosts for gpu in planned.gpus)
    return f"lower gpu.memory to {units.format_size(least)}"


def _tier(plan: Plan) -> str:
    tier = min(planned.host.tier or 0 for planned in plan.hosts)
    return f"lower supplier.tier to {tier}" if tier else "leave out supplier.tier"
