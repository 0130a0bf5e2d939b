"""From a request to a Plan that was looked at: match, survey the chosen hosts, match again without those that failed.

Nothing is written to the ledger and nothing changes on a host: this is `match`, and the first half of `book`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.booking.survey import pin_host_keys, survey
from provision.errors import InvalidInput, NoCapacity
from provision.matching.match import explain, match
from provision.matching.model import Plan, WhyNot

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.request.model import Accepted
    from provision.supply.model import Supply


def propose(
    desk: Desk,
    wish: Accepted,
    supply: Supply,
    known_hosts: Path,
    *,
    keep: tuple[str, ...] = (),
    held: frozenset[str] = frozenset(),
    excluded: Mapping[str, str] | None = None,
) -> Plan:
    """Choose hosts that answer; each round leaves out those that did not, so it ends after at most every host.

    `held` are GPUs that the booking itself holds: free for it.
    The Plan names, for each host, the networks it may be managed from: those the inventory states, else ours.

    Raises:
        NoCapacity: nothing is left that fits; the message has the why-not counts.
        HostFailed: a host refused our key, or shows another host key than the pinned one.
    """
    aside = {host: f"quarantined: {q.reason}" for host, q in desk.ledger.quarantined().items()}
    reasons = aside | dict(excluded or {})
    taken = desk.ledger.taken(wish.start_ns, wish.end_ns) | desk.ledger.overdue(desk.now_ns())
    known: dict[str, tuple[str, ...]] = {}
    while True:
        plan = choose(wish, supply, taken=taken, excluded=reasons, keep=keep, held=held)
        pin_host_keys((planned.host for planned in plan.hosts), known_hosts)
        fresh = tuple(planned.host for planned in plan.hosts if planned.host.name not in known)
        desk.phase("survey", ", ".join(host.name for host in fresh))
        found = survey(fresh, known_hosts)
        known |= found.management
        if not found.why_not:
            _require_head_cpus(wish, plan)
            return _managed(plan, known)
        reasons |= found.why_not
        keep = tuple(name for name in keep if name not in reasons)


def choose(
    wish: Accepted,
    supply: Supply,
    *,
    taken: frozenset[str],
    excluded: Mapping[str, str],
    keep: tuple[str, ...] = (),
    held: frozenset[str] = frozenset(),
) -> Plan:
    """`match`, with a WhyNot turned into the error that commands end with."""
    found = match(wish, supply, taken=taken, excluded=excluded, keep=keep, held=held)
    if isinstance(found, WhyNot):
        raise NoCapacity(explain(found))
    return found


def _require_head_cpus(wish: Accepted, plan: Plan) -> None:
    head = plan.hosts[0].host
    if wish.ray.head_cpus > head.cpus:
        found = f"ray.head_cpus: expected at most {head.cpus}, the CPUs of {head.name}, found {wish.ray.head_cpus}"
        raise InvalidInput((found,))


def _managed(plan: Plan, known: Mapping[str, tuple[str, ...]]) -> Plan:
    hosts = (replace(p, host=replace(p.host, management=known[p.host.name])) for p in plan.hosts)
    return replace(plan, hosts=tuple(hosts))
