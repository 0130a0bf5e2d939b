"""The JSON that commands print (docs/json.md): version 1, field names as in the domain, units in the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision import units

if TYPE_CHECKING:
    from provision.booking.model import Booking, Event
    from provision.matching.model import Plan

VERSION = 1


def plan_shape(plan: Plan) -> dict[str, Any]:
    """A Plan: hosts (head first), GPUs, worst RTT, price, window, why-not counts."""
    return {
        "name": plan.name,
        "digest": plan.digest,
        "image": plan.image,
        "start": units.format_instant(plan.start_ns),
        "end": units.format_instant(plan.end_ns),
        "gpu_count": plan.gpu_count,
        "worst_rtt_ns": plan.worst_rtt_ns,
        "price_micros": plan.price_micros,
        "currency": plan.currency,
        "why_not": [{"reason": reason, "hosts": count} for reason, count in plan.why_not],
        "hosts": [
            {
                "name": planned.host.name,
                "supplier": planned.host.supplier,
                "site": planned.host.site,
                "region": planned.host.region,
                "address": planned.host.address,
                "gpus": [{"uuid": gpu.uuid, "index": gpu.index, "model": gpu.model} for gpu in planned.gpus],
            }
            for planned in plan.hosts
        ],
    }


def booking_shape(booking: Booking, plan: Plan | None, **more: object) -> dict[str, Any]:
    """A booking with its Plan."""
    return {
        "v": VERSION,
        "name": booking.name,
        "state": str(booking.state),
        "start": units.format_instant(booking.start_ns),
        "end": units.format_instant(booking.end_ns),
        "plan": plan_shape(plan) if plan else None,
        **more,
    }


def event_shape(event: Event) -> dict[str, Any]:
    """One event line."""
    line = event.line
    return {
        "seq": event.seq,
        "time": units.format_instant(line.time_ns),
        "actor": line.actor,
        "target": line.target,
        "old": line.old,
        "new": line.new,
        "reason": line.reason,
    }
