"""The candidates as columns of integers, with round trips from site to site and not from host to host.

Knows how to measure, not what to choose; choose.py does that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from provision.matching.sift import Candidate
from provision.supply.model import Supply

Column = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Table:
    """Candidates by place: GPUs offered, price of one GPU-hour, access delay, site, unmet preferences."""

    def __init__(self, candidates: tuple[Candidate, ...], supply: Supply) -> None:
        sites = sorted({candidate.host.site for candidate in candidates})
        number = {site: place for place, site in enumerate(sites)}
        self.rows = [
            (
                len(candidate.gpus),
                candidate.host.price_micros_per_gpu_hour,
                candidate.host.access_rtt_ns,
                number[candidate.host.site],
                candidate.unmet,
            )
            for candidate in candidates
        ]
        columns = np.array(self.rows, dtype=np.int64).reshape(len(self.rows), 5).T
        self.offer, self.price, self.access, self.site, self.unmet = columns
        self.site_rtt = np.array([[supply.site_rtt_ns(a, b) for b in sites] for a in sites], dtype=np.int64)
        self.cheapest: Column = np.lexsort((self.access, -self.offer, self.price, self.unmet))

    def rtt(self, places: Column, one: int) -> Column:
        """Return the round trips from some places to one of them."""
        rtts: Column = self.access[places] + self.site_rtt[self.site[places], self.site[one]] + self.access[one]
        return rtts

    def seeds(self, allowed: Mask) -> list[int]:
        """Return, of each site, the cheapest, the nearest and the largest host, without repetition."""
        orders = (self.cheapest, np.lexsort((self.price, self.access)), np.lexsort((self.price, -self.offer)))
        firsts: dict[int, None] = {}
        for order in orders:
            usable = order[allowed[order]]
            _, first = np.unique(self.site[usable], return_index=True)
            firsts |= dict.fromkeys(usable[np.sort(first)].tolist())
        return list(firsts)
