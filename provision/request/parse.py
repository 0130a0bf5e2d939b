"""Text → Request: `request.yaml` read strictly, with every problem at once.

What only the moment can tell (a window that has passed, an image's digest) is left to `Request.accept`.
"""

from __future__ import annotations

import re

from provision import units
from provision.request import readers
from provision.request.fields import Fields, Notes, Read, compose, mapping, whole_number
from provision.request.model import GpuNeed, Near, Price, RayOptions, Request, SupplierWish, Window, Wish

KNOWN = ("name", "gpu", "window", "near", "price", "supplier", "image", "egress", "ray")
MOST = 1_000_000

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/-]{0,63}")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,199}(@sha256:[0-9a-f]{64})?")


def parse(text: str, source: str) -> Request:
    """Return the request that `text` describes; `source` names it in messages.

    Raises:
        InvalidInput: with all problems, each 'request.yaml:4: gpu.count: expected …, found …'.
    """
    notes = Notes(source=source)
    fields = mapping(compose(text, notes), "", KNOWN, notes)
    request = Request(
        name=fields.need("name", readers.matching(_NAME, "1 to 31 of a–z, 0–9 and '-', a letter first"), ""),
        gpu=_gpu(fields),
        window=_window(fields),
        near=_near(fields),
        price=_price(fields),
        supplier=_supplier(fields),
        image=fields.need("image", readers.matching(_IMAGE, "an image such as timelock/ray:2.60-py311"), ""),
        egress=fields.may("egress", readers.egress, ()),
        ray=_ray(fields),
        origin=notes.origin,
    )
    notes.raise_if_any()
    return request


def _gpu(fields: Fields) -> GpuNeed:
    gpu = fields.section("gpu", ("model", "count", "memory", "per_host", "hosts"), needed=True)
    number: Read[int | None] = whole_number(1, MOST)
    model = gpu.need("model", readers.matching(_MODEL, "a GPU model such as H100"), "")
    memory_bytes = gpu.may("memory", readers.unit(units.parse_size), None)
    count, per_host, hosts = (gpu.may(name, number, None) for name in ("count", "per_host", "hosts"))
    if not gpu.failed("count", "per_host", "hosts"):
        count, per_host, hosts = _shape(gpu, count, per_host, hosts)
    return GpuNeed(model=model, count=count or 0, memory_bytes=memory_bytes, per_host=per_host, hosts=hosts)


def _shape(
    gpu: Fields, count: int | None, per_host: int | None, hosts: int | None
) -> tuple[int | None, int | None, int | None]:
    """Complete count = per_host × hosts from any two of the three; count alone may lie on any hosts."""
    if count is None and per_host and hosts:
        return per_host * hosts, per_host, hosts
    if count is None:
        given = "per_host only" if per_host else "hosts only" if hosts else "nothing"
        gpu.notes.add("gpu.count", f"expected count, or both per_host and hosts; found {given}")
    elif per_host and hosts and per_host * hosts != count:
        gpu.notes.add("gpu.count", f"expected per_host × hosts = {per_host * hosts}, found {count}")
    elif count % (per_host or hosts or 1):
        other = "per_host" if per_host else "hosts"
        gpu.notes.add("gpu.count", f"expected a multiple of {other} ({per_host or hosts}), found {count}")
    elif per_host or hosts:
        return count, per_host or count // (hosts or 1), hosts or count // (per_host or 1)
    return count, None, None


def _window(fields: Fields) -> Window:
    window = fields.section("window", ("start", "end", "duration"), needed=True)
    start_ns = window.may("start", readers.start, None)
    end_ns = window.may("end", readers.unit(units.parse_instant), None)
    duration_ns = window.may("duration", readers.duration, None)
    if not window.failed("start", "end", "duration"):
        if (end_ns is None) == (duration_ns is None):
            given = "neither" if end_ns is None else "both"
            window.notes.add("window.end", f"expected either end or duration, found {given}")
        elif start_ns is not None and end_ns is not None and end_ns <= start_ns:
            start, end = units.format_instant(start_ns), units.format_instant(end_ns)
            window.notes.add("window.end", f"expected an instant after window.start ({start}), found {end}")
    return Window(start_ns=start_ns, end_ns=end_ns, duration_ns=duration_ns)


def _near(fields: Fields) -> Near:
    near = fields.section("near", ("max_rtt", "region"))
    max_rtt_ns = near.may("max_rtt", readers.unit(units.parse_rtt), None)
    return Near(max_rtt_ns=max_rtt_ns, regions=near.may("region", readers.regions, ()))


def _price(fields: Fields) -> Price:
    price = fields.section("price", ("max_total",))
    nothing: tuple[int | None, str | None] = (None, None)
    micros, currency = price.may("max_total", readers.money, nothing)
    return Price(max_total_micros=micros, currency=currency)


def _supplier(fields: Fields) -> SupplierWish:
    supplier = fields.section("supplier", ("soc2", "tier"))
    soc2: Wish = supplier.may("soc2", readers.wish, "any")
    nothing: tuple[int | None, Wish] = (None, "require")
    tier, tier_wish = supplier.may("tier", readers.tier, nothing)
    return SupplierWish(soc2=soc2, tier=tier, tier_wish=tier_wish)


def _ray(fields: Fields) -> RayOptions:
    ray = fields.section("ray", ("head_cpus",))
    return RayOptions(head_cpus=ray.may("head_cpus", whole_number(0, MOST), RayOptions().head_cpus))
