"""Request × supply → Plan or WhyNot: the one door of matching, and pure.

Sifting (sift.py) asks each host, choosing (choose.py) looks for a set; another way of choosing replaces `choose` alone.
The result is a function of the arguments, byte for byte: hosts are taken in the order of their names, never of a file.
"""

from __future__ import annotations

from collections.abc import Mapping

from provision.matching.attempt import attempt
from provision.matching.model import Plan, WhyNot
from provision.matching.relax import hint
from provision.matching.sift import Situation
from provision.request.model import Accepted
from provision.supply.model import Supply


def match(
    wish: Accepted,
    supply: Supply,
    *,
    taken: frozenset[str],
    excluded: Mapping[str, str],
    keep: tuple[str, ...] = (),
    held: frozenset[str] = frozenset(),
) -> Plan | WhyNot:
    """Return the hosts that fit `wish` best, or why none do.

    Args:
        wish: what is asked for, with an absolute window.
        supply: all hosts there are.
        taken: UUIDs of GPUs claimed in the window.
        excluded: hosts that must not be used, each with the reason that is counted.
        keep: hosts that must be in the Plan, in this order and before all others (a replacement keeps the living).
        held: UUIDs claimed by this very booking: free to it, and what a kept host keeps.
    """
    situation = Situation(taken=taken, held=held, excluded=excluded, keep=keep)
    found = attempt(wish, supply, situation)
    if isinstance(found, Plan):
        return found
    return WhyNot(
        needed=wish.gpu.count,
        available=found.available,
        reasons=found.reasons,
        hint=hint(wish, supply, situation, found.available),
    )


def explain(why_not: WhyNot) -> str:
    """Return the message of a NoCapacity: what was needed and found, the hosts by reason, and what would help."""
    reasons = [f"  {count} {'host' if count == 1 else 'hosts'}: {reason}" for reason, count in why_not.reasons]
    gpus = "GPU" if why_not.needed == 1 else "GPUs"
    together = "" if why_not.available < 2 else " together"
    head = f"expected {why_not.needed} free {gpus} that fit, found {why_not.available or 'none'}{together}"
    return "\n".join([head, *(reasons or ["  the supply has no hosts"]), f"to get a plan: {why_not.hint}"])
