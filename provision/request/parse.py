"""Text → Request: `request.yaml` read strictly, with every problem at once.

What only the moment can tell (a window that has passed, an image's digest) is left to `Request.accept`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import TypeVar

import yaml

from provision import units
from provision.request.fields import Fields, Notes, Read, compose, found, items, mapping, scalar, whole_number
from provision.request.model import Egress, GpuNeed, Near, Price, RayOptions, Request, SupplierWish, Window, Wish

T = TypeVar("T")

KNOWN = ("name", "gpu", "window", "near", "price", "supplier", "image", "egress", "ray")
WISHES: tuple[Wish, ...] = ("require", "prefer", "any")
MOST = 1_000_000

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/-]{0,63}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,199}(@sha256:[0-9a-f]{64})?")
_DESTINATION = re.compile(r"(?:\[([0-9a-f:./]+)\]|([0-9./]+)):(\d{1,5})(?:/(tcp|udp))?", re.IGNORECASE)


def parse(text: str, source: str) -> Request:
    """Return the request that `text` describes; `source` names it in messages.

    Raises:
        InvalidInput: with all problems, each 'request.yaml:4: gpu.count: expected …, found …'.
    """
    notes = Notes(source=source)
    fields = mapping(compose(text, notes), "", KNOWN, notes)
    request = Request(
        name=fields.need("name", _matching(_NAME, "1 to 31 of a–z, 0–9 and '-', a letter first"), ""),
        gpu=_gpu(fields),
        window=_window(fields),
        near=_near(fields),
        price=_price(fields),
        supplier=_supplier(fields),
        image=fields.need("image", _matching(_IMAGE, "an image such as timelock/ray:2.60-py311"), ""),
        egress=fields.may("egress", _egress, ()),
        ray=_ray(fields),
        origin=notes.origin,
    )
    notes.raise_if_any()
    return request


def _gpu(fields: Fields) -> GpuNeed:
    gpu = fields.section("gpu", ("model", "count", "memory", "per_host", "hosts"), needed=True)
    number: Read[int | None] = whole_number(1, MOST)
    model = gpu.need("model", _matching(_MODEL, "a GPU model such as H100"), "")
    memory_bytes = gpu.may("memory", _unit(units.parse_size), None)
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
        gpu.notes.add("gpu.count", "expected count, or both per_host and hosts; found neither")
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
    start_ns = window.may("start", _start, None)
    end_ns = window.may("end", _unit(units.parse_instant), None)
    duration_ns = window.may("duration", _duration, None)
    if not window.failed("start", "end", "duration"):
        if (end_ns is None) == (duration_ns is None):
            both = "neither" if end_ns is None else "both"
            window.notes.add("window.end", f"expected either end or duration, found {both}")
        elif start_ns is not None and end_ns is not None and end_ns <= start_ns:
            start, end = units.format_instant(start_ns), units.format_instant(end_ns)
            window.notes.add("window.end", f"expected an instant after window.start ({start}), found {end}")
    return Window(start_ns=start_ns, end_ns=end_ns, duration_ns=duration_ns)


def _near(fields: Fields) -> Near:
    near = fields.section("near", ("max_rtt", "region"))
    max_rtt_ns = near.may("max_rtt", _unit(units.parse_rtt), None)
    return Near(max_rtt_ns=max_rtt_ns, regions=near.may("region", _regions, ()))


def _price(fields: Fields) -> Price:
    price = fields.section("price", ("max_total",))
    nothing: tuple[int | None, str | None] = (None, None)
    micros, currency = price.may("max_total", _money, nothing)
    return Price(max_total_micros=micros, currency=currency)


def _supplier(fields: Fields) -> SupplierWish:
    supplier = fields.section("supplier", ("soc2", "tier"))
    soc2: Wish = supplier.may("soc2", _wish, "any")
    nothing: tuple[int | None, Wish] = (None, "require")
    tier, tier_wish = supplier.may("tier", _tier, nothing)
    return SupplierWish(soc2=soc2, tier=tier, tier_wish=tier_wish)


def _ray(fields: Fields) -> RayOptions:
    ray = fields.section("ray", ("head_cpus",))
    return RayOptions(head_cpus=ray.may("head_cpus", whole_number(0, MOST), RayOptions().head_cpus))


def _start(node: yaml.Node) -> int | None:
    text = scalar(node)
    if text == "now":
        return None
    try:
        return units.parse_instant(text)
    except units.UnitError as error:
        raise ValueError(str(error).replace("expected ", "expected now or ", 1)) from error


def _duration(node: yaml.Node) -> int:
    duration_ns = units.parse_duration(scalar(node))
    if duration_ns == 0:
        raise ValueError(f"expected a duration longer than nothing, found {scalar(node)}")
    return duration_ns


def _money(node: yaml.Node) -> tuple[int | None, str | None]:
    return units.parse_money(scalar(node))


def _wish(node: yaml.Node) -> Wish:
    for wish in WISHES:
        if scalar(node) == wish:
            return wish
    raise ValueError(f"expected one of {', '.join(WISHES)}; found {found(node)}")


def _tier(node: yaml.Node) -> tuple[int | None, Wish]:
    """Read `3` (required), `{prefer: 3}`, `{require: 3}` or `any`."""
    level = whole_number(1, 4)
    if isinstance(node, yaml.MappingNode) and len(node.value) == 1:
        key, value = node.value[0]
        if scalar(key) in ("require", "prefer"):
            return level(value), _wish(key)
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:int":
        return level(node), "require"
    if isinstance(node, yaml.ScalarNode) and node.value == "any":
        return None, "require"
    raise ValueError(f"expected a tier from 1 to 4, {{prefer: 3}} or any; found {found(node)}")


def _regions(node: yaml.Node) -> tuple[str, ...]:
    read = _matching(_REGION, "a region such as eu or eu-west")
    return tuple(sorted({read(item) for item in items(node)}))


def _egress(node: yaml.Node) -> tuple[Egress, ...]:
    if isinstance(node, yaml.ScalarNode) and node.value == "none":
        return ()
    return tuple(sorted({_destination(item) for item in items(node)}, key=str))


def _destination(node: yaml.Node) -> Egress:
    expected = "expected none, or a list of destinations such as '10.0.0.0/8:443', '[2001:db8::/32]:443/udp'"
    match = _DESTINATION.fullmatch(scalar(node))
    if not match or not 1 <= int(match[3]) <= 65_535:
        raise ValueError(f"{expected}, found {found(node)}")
    try:
        network = ipaddress.ip_network(match[1] or match[2])
    except ValueError as error:
        raise ValueError(f"{expected}, found {found(node)} ({error})") from error
    return Egress(cidr=str(network), port=int(match[3]), protocol="udp" if (match[4] or "").lower() == "udp" else "tcp")


def _matching(pattern: re.Pattern[str], expected: str) -> Read[str]:
    """Return a reader of text of one pattern."""

    def read(node: yaml.Node) -> str:
        if not pattern.fullmatch(scalar(node, expected)):
            raise ValueError(f"expected {expected}; found {found(node)}")
        return scalar(node)

    return read


def _unit(parse: Callable[[str], T]) -> Read[T]:
    """Return a reader of text with a unit."""
    return lambda node: parse(scalar(node))
