"""Which of the fitting hosts go together: near each other, and cheap. The heuristic behind match.py.

A set is grown around a seed, host by host, each within the limit of all before it. With `near.max_rtt` the cheapest set
within it is sought; without, the nearest, and the cheapest of those. Growth is greedy: it may miss a set that only an
exact search finds, but what it returns always keeps the limits. All arithmetic is in integers, all ties end in names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from provision.matching.columns import Column, Mask, Table
from provision.supply.model import UNMEASURED_NS

UNLIMITED_NS = UNMEASURED_NS - 1
"""The limit when there is none: all pairs of which the round trip is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """How many GPUs, within which limits; `kept` are the places of candidates that must be in the set.

    `whole`: each host gives all that it offers, or nothing.
    """

    count: int
    whole: bool
    max_rtt_ns: int | None
    highest_rate: int | None
    kept: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Places of candidates, each with the number of GPUs used; `rate` is their hourly price together."""

    members: tuple[tuple[int, int], ...]
    count: int
    worst_rtt_ns: int
    rate: int
    unmet: int

    @property
    def order(self) -> tuple[int, int, int, int, tuple[tuple[int, int], ...]]:
        """What makes a choice better than another, the smaller first."""
        return self.unmet, self.rate, len(self.members), self.worst_rtt_ns, self.members


def choose(table: Table, goal: Goal) -> Choice | None:
    """Return the best set found that reaches the goal, or None; as few unmet preferences as possible come first."""
    for unmet in np.unique(table.unmet).tolist():
        search = Search(table, goal, table.unmet <= unmet)
        limit = search.nearest(UNLIMITED_NS) if goal.max_rtt_ns is None else goal.max_rtt_ns
        best = search.cheapest(limit)
        if best:
            return best
    return None


def most(table: Table, goal: Goal) -> int:
    """Return the most GPUs that one set was found to have within the limits, at most as many as the goal asks for."""
    search = Search(table, goal, np.ones(len(table.rows), dtype=np.bool_))
    return search.largest(UNLIMITED_NS if goal.max_rtt_ns is None else goal.max_rtt_ns)


class Search:
    """One search among the allowed candidates of a table."""

    def __init__(self, table: Table, goal: Goal, allowed: Mask) -> None:
        self._table = table
        self._goal = goal
        self._usable = table.cheapest[allowed[table.cheapest]]
        self.starts = [goal.kept] if goal.kept else [(seed,) for seed in table.seeds(allowed)]

    def nearest(self, limit: int) -> int:
        """Return the smallest limit under which a complete set was found, -1 if there is none under `limit`."""
        best = -1
        for start in self.starts:
            if best != 0:
                choice = self._complete(start, limit if best < 0 else best - 1)
                best = self._tightened(start, choice.worst_rtt_ns) if choice else best
        return best

    def cheapest(self, limit: int) -> Choice | None:
        """Return the best complete set under a limit, by `Choice.order`."""
        best: Choice | None = None
        for start in self.starts:
            if best is None or self._lower_bound(start, limit) <= (best.unmet, best.rate):
                choice = self._complete(start, limit)
                if choice and (best is None or choice.order < best.order):
                    best = choice
        return best

    def largest(self, limit: int) -> int:
        """Return the most GPUs that a set was found to have under a limit, complete or not."""
        sets = (choice for one in self.starts for choice in self._grown(one, self._around(one, limit), limit))
        return max((choice.count for choice in sets), default=0)

    def _grown(self, start: tuple[int, ...], rest: Column, limit: int) -> Iterator[Choice]:
        """Yield the sets grown from `start`, complete or not: cheapest first, then nearest first."""
        yield self._grow(start, rest, limit)
        yield self._grow(start, rest[np.argsort(self._table.rtt(rest, start[0]), kind="stable")], limit)

    def _complete(self, start: tuple[int, ...], limit: int) -> Choice | None:
        """Return the first set grown from all of `start` that reaches the goal, if the hosts around are enough."""
        table, rest = self._table, self._around(start, limit)
        if table.offer[list(start)].sum() + table.offer[rest].sum() < self._goal.count:
            return None
        for choice in self._grown(start, rest, limit):
            if choice.count >= self._goal.count and len(choice.members) >= len(start):
                return choice
        return None

    def _tightened(self, start: tuple[int, ...], worst: int) -> int:
        """Return the smallest limit, up to `worst`, under which a complete set grows from `start`.

        Kept hosts may be farther from each other than that; they stay all the same.
        """
        least = 0
        while least < worst:
            middle = (least + worst) // 2
            choice = self._complete(start, middle)
            least, worst = (least, min(middle, choice.worst_rtt_ns)) if choice else (middle + 1, worst)
        return worst

    def _lower_bound(self, start: tuple[int, ...], limit: int) -> tuple[int, int]:
        """Return unmet preferences and rate of the best hosts around `start`, as if all were near each other."""
        table = self._table
        places = np.concatenate((np.array(start, dtype=np.int64), self._around(start, limit)))
        before = np.cumsum(table.offer[places]) - table.offer[places]
        used = np.clip(self._goal.count - before, 0, table.offer[places])
        return int(table.unmet[places][used > 0].sum()), int((used * table.price[places]).sum())

    def _around(self, start: tuple[int, ...], limit: int) -> Column:
        """Return the usable places within the limit of each of `start`, cheapest first."""
        places = self._usable
        for one in start:
            places = places[(self._table.rtt(places, one) <= limit) & (places != one)]
        return places

    def _grow(self, start: tuple[int, ...], rest: Column, limit: int) -> Choice:
        """Take `start`, then hosts of `rest` in order, each near all before it, until the goal or the price cap."""
        table, goal = self._table, self._goal
        members: list[tuple[int, int]] = []
        count = rate = worst = unmet_in_all = 0
        farthest = np.zeros(len(table.site_rtt), dtype=np.int64)
        from_site = farthest.tolist()
        for one in chain(start, _each(rest)):
            offer, price, access, site, unmet = table.rows[one]
            rtt = from_site[site] + access if members else 0
            if rtt > limit and len(members) >= len(start):
                continue
            used = self._affordable(rate, price, min(offer, goal.count - count))
            if not used:
                break
            members.append((one, used))
            count, rate, worst = count + used, rate + used * price, max(worst, rtt)
            unmet_in_all += unmet
            farthest = np.maximum(farthest, table.site_rtt[site] + access)
            from_site = farthest.tolist()
        return Choice(members=tuple(members), count=count, worst_rtt_ns=worst, rate=rate, unmet=unmet_in_all)

    def _affordable(self, rate: int, price: int, wanted: int) -> int:
        """Return how many of `wanted` GPUs at `price` fit under the cap beside what costs `rate` already."""
        highest = self._goal.highest_rate
        if highest is None or rate + wanted * price <= highest:
            return wanted
        return 0 if self._goal.whole else max(highest - rate, 0) // price


def _each(places: Column) -> Iterator[int]:
    """Yield places as plain integers, converting no more of them than are asked for."""
    for begin in range(0, len(places), 256):
        yield from places[begin : begin + 256].tolist()
