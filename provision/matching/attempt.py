"""One attempt at a Plan: sift the hosts, choose among those that fit, and write the result down.

Says why it failed and how much there was, but not what would help; relax.py finds that by further attempts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from provision.matching import price
from provision.matching.choose import Choice, Goal, choose, most
from provision.matching.columns import Table
from provision.matching.model import Counts, Plan, PlannedHost
from provision.matching.sift import Candidate, Sifted, Situation, sift
from provision.request.model import Accepted
from provision.supply.model import Supply

NOT_NEEDED = "fits, but others are nearer or cheaper"
TOO_FEW = "fits, but there are too few of them"
TOO_FAR = "fits, but not enough others within near.max_rtt"
UNMEASURED = "fits, but the round trip to enough others is not measured"
TOO_DEAR = "fits, but not enough others within price.max_total"
NOT_KEPT = "fits, but not beside a host that had to stay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No Plan: the most GPUs that go together, and every host under the reason that ruled it out."""

    available: int
    reasons: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The candidates of one currency, as a table, and the goal in terms of it; prices of two are never added up."""

    candidates: tuple[Candidate, ...]
    table: Table
    goal: Goal
    complete: bool


def attempt(wish: Accepted, supply: Supply, situation: Situation) -> Plan | Refusal:
    """Return the best Plan found in `situation`, or a Refusal."""
    sifted = sift(wish, supply, situation)
    markets = tuple(_markets(wish, supply, situation, sifted.candidates))
    choices = [(choose(market.table, market.goal), market) for market in markets if market.complete]
    found = [(choice, market) for choice, market in choices if choice]
    if found:
        choice, market = min(found, key=lambda pair: (pair[0].unmet, pair[0].worst_rtt_ns))
        return _plan(wish, supply, sifted, _planned(supply, situation, market, choice), choice)
    available = max((_available(market) for market in markets), default=0)
    left = len(sifted.candidates)
    reasons = ((_obstacle(markets), left),) if left else ()
    return Refusal(available=available, reasons=sifted.reasons + reasons)


def _markets(
    wish: Accepted, supply: Supply, situation: Situation, candidates: tuple[Candidate, ...]
) -> Iterator[Market]:
    """Yield the candidates by currency, in alphabetical order; kept hosts decide which one it is."""
    kept = {candidate.host.currency for candidate in candidates if candidate.host.name in situation.keep}
    cap = wish.price.max_total_micros
    for currency in sorted(kept or {candidate.host.currency for candidate in candidates}):
        members = tuple(candidate for candidate in candidates if candidate.host.currency == currency)
        place = {candidate.host.name: number for number, candidate in enumerate(members)}
        goal = Goal(
            count=wish.gpu.count,
            whole=wish.gpu.per_host is not None,
            max_rtt_ns=wish.near.max_rtt_ns,
            highest_rate=None if cap is None else price.highest_rate(cap, wish.seconds),
            kept=tuple(place[name] for name in situation.keep if name in place),
        )
        complete = all(name in place for name in situation.keep)
        yield Market(candidates=members, table=Table(members, supply), goal=goal, complete=complete)


def _planned(supply: Supply, situation: Situation, market: Market, choice: Choice) -> tuple[PlannedHost, ...]:
    """Return the chosen hosts, the head first, each with as many of its GPUs as are used."""
    chosen = [market.candidates[place] for place, _ in choice.members]
    used = {market.candidates[place].host.name: count for place, count in choice.members}
    ordered = _head_first(chosen, supply, situation.keep)
    return tuple(PlannedHost(host=one.host, gpus=one.gpus[: used[one.host.name]]) for one in ordered)


def _plan(wish: Accepted, supply: Supply, sifted: Sifted, hosts: tuple[PlannedHost, ...], choice: Choice) -> Plan:
    spare = len(sifted.candidates) - len(hosts)
    return Plan(
        name=wish.name,
        start_ns=wish.start_ns,
        end_ns=wish.end_ns,
        image=wish.image,
        hosts=hosts,
        worst_rtt_ns=choice.worst_rtt_ns,
        price_micros=price.total_micros(choice.rate, wish.seconds),
        currency=hosts[0].host.currency,
        why_not=sifted.reasons + (((NOT_NEEDED, spare),) if spare else ()),
        request_digest=wish.request_digest,
        supply_digest=supply.digest,
    )


def _head_first(chosen: list[Candidate], supply: Supply, keep: tuple[str, ...]) -> list[Candidate]:
    """Kept hosts in their order, then the rest by name; without any to keep, the host nearest to all others leads."""

    def distance(one: Candidate) -> tuple[int, int, str]:
        rtts = [supply.rtt_ns(one.host, other.host) for other in chosen]
        return max(rtts), sum(rtts), one.host.name

    leaders = keep or (min(chosen, key=distance).host.name,)
    rank = {name: place for place, name in enumerate(leaders)}
    return sorted(chosen, key=lambda one: (rank.get(one.host.name, len(rank)), one.host.name))


def _offered(market: Market) -> int:
    return sum(len(candidate.gpus) for candidate in market.candidates)


def _available(market: Market) -> int:
    """Return the most GPUs that go together, as far as was found, at most as many as are wanted."""
    return min(_offered(market), most(market.table, market.goal))


def _obstacle(markets: tuple[Market, ...]) -> str:
    """Name what keeps the candidates of all markets from being a Plan, by lifting one limit after the other."""
    if not all(market.complete for market in markets):
        return NOT_KEPT
    markets = tuple(market for market in markets if _offered(market) >= market.goal.count)
    if not markets:
        return TOO_FEW
    if any(choose(market.table, replace(market.goal, highest_rate=None)) for market in markets):
        return TOO_DEAR
    limited = any(market.goal.max_rtt_ns is not None for market in markets)
    free = [replace(market.goal, highest_rate=None, max_rtt_ns=None) for market in markets]
    if limited and any(choose(market.table, goal) for market, goal in zip(markets, free, strict=True)):
        return TOO_FAR
    return UNMEASURED
