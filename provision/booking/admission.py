"""Admission: a booking's hosts are tried together before it becomes ACTIVE, and counted one by one.

What each check looks at stands in `acceptance.py`; here it is run, told, and turned into the error of the first host
that is not accepted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from provision.booking.acceptance import Acceptance, Check, Trial, examine
from provision.booking.progress import HostStep
from provision.booking.records import plan_of
from provision.booking.stack import spec_of
from provision.booking.workers import runner
from provision.errors import HostFailed

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.model import Booking
    from stacks.spec import BookingSpec

ROLE = "acceptance"


def admit(desk: Desk, booking: Booking) -> Acceptance:
    """Try all hosts; returns what was found when every host is accepted.

    Raises:
        HostFailed: a host is not as booked, or could not be asked.
    """
    plan = plan_of(booking)
    spec = spec_of(booking, plan, desk.place(booking.name))
    desk.phase("acceptance", "mesh, firewall, listeners, Ray, a task on every GPU")
    found = asyncio.run(_try(spec))
    for check in found.checks:
        state = "done" if check.ok else "failed"
        desk.tell(HostStep(host=check.host, role=ROLE, step=f"{check.name}: {check.found}", state=state))
    if found.failures or len(found.accepted) != len(plan.hosts):
        raise _refused(booking, found.failures, len(found.accepted), len(plan.hosts))
    return found


async def _try(spec: BookingSpec) -> Acceptance:
    async with runner({host.name: host.connection for host in spec.hosts}) as run:
        return await examine(Trial.of(spec), run)


def _refused(booking: Booking, failures: tuple[Check, ...], accepted: int, planned: int) -> HostFailed:
    first = failures[0]
    return HostFailed(
        host=first.host,
        step=f"acceptance: {first.name}",
        cause=f"expected {first.expected}, found {first.found} ({accepted} of {planned} hosts accepted)",
        kind="acceptance",
        next_step=f"`timelock drift {booking.name}` compares the hosts with the plan; `timelock resume` tries again",
    )
