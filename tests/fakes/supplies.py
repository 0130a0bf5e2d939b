"""Supplies and wishes for tests of matching: plain builders, and strategies that draw small worlds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from provision.request.model import Accepted, GpuNeed, Near, Price, Request, SupplierWish, Window
from provision.supply.document import supply_of
from provision.supply.model import Gpu, Host, Supply

START_NS = 1_900_000_000 * 10**9
HOUR_NS = 3600 * 10**9
IMAGE = "registry.example/timelock/ray@sha256:" + "a" * 64
MS = 1_000_000


def gpu(host: str, index: int, model: str = "H100", memory_bytes: int = 80 * 10**9) -> Gpu:
    return Gpu(
        uuid=f"{host}-g{index}", index=index, model=model, memory_bytes=memory_bytes, device=f"/dev/nvidia{index}"
    )


def host(name: str, *, gpus: int | Sequence[Gpu] = 2, **changes: Any) -> Host:
    """Return a host with sensible values for all that is not given."""
    cards = tuple(gpu(name, index) for index in range(gpus)) if isinstance(gpus, int) else tuple(gpus)
    values: dict[str, Any] = {
        "supplier": "acme",
        "site": "s1",
        "region": "eu-west",
        "tier": 3,
        "soc2_until_ns": START_NS + 1000 * HOUR_NS,
        "price_micros_per_gpu_hour": 2_000_000,
        "currency": "EUR",
        "access_rtt_ns": 100_000,
        "address": f"{name}.example",
        "port": 22,
        "user": "root",
        "key_file": "/keys/id",
        "host_key": None,
        "cpus": 16,
        "memory_bytes": 64 * 10**9,
        "management": ("203.0.113.0/24",),
    }
    return Host(name=name, gpus=cards, **(values | changes))


def supply(*hosts: Host, **site_rtt_ms: int) -> Supply:
    """Return a supply; `s1_s2=5` is a round trip of 5 ms between sites s1 and s2."""
    pairs = {(one, other): ms * MS for (one, other), ms in ((name.split("_"), ms) for name, ms in site_rtt_ms.items())}
    return supply_of(hosts, pairs, None)


def wish(
    count: int = 4,
    *,
    model: str = "H100",
    memory_bytes: int | None = None,
    per_host: int | None = None,
    near: Near | None = None,
    cap_micros: int | None = None,
    currency: str = "EUR",
    supplier: SupplierWish | None = None,
    duration_ns: int = 2 * HOUR_NS,
) -> Accepted:
    """Return an accepted wish for a window of two hours unless told otherwise."""
    hosts = count // per_host if per_host else None
    need = GpuNeed(model=model, count=count, memory_bytes=memory_bytes, per_host=per_host, hosts=hosts)
    price = Price() if cap_micros is None else Price(max_total_micros=cap_micros, currency=currency)
    request = Request(
        name="demo",
        gpu=need,
        window=Window(duration_ns=duration_ns),
        image="timelock/ray:1",
        near=near or Near(),
        price=price,
        supplier=supplier or SupplierWish(),
    )
    return request.accept(START_NS, IMAGE)


@st.composite
def hosts(draw: st.DrawFn, name: str, sites: int) -> Host:
    size = draw(st.sampled_from([0, 1, 2, 2, 3, 4]))
    models = st.sampled_from(["H100", "H100", "H100", "A100"])
    memories = st.sampled_from([40 * 10**9, 80 * 10**9])
    return host(
        name,
        gpus=[gpu(name, index, draw(models), draw(memories)) for index in range(size)],
        site=f"s{draw(st.integers(1, sites))}",
        region=draw(st.sampled_from(["eu-west", "eu-north", "us-east", ""])),
        tier=draw(st.sampled_from([None, 1, 2, 3, 4])),
        soc2_until_ns=draw(st.sampled_from([None, START_NS + HOUR_NS, START_NS + 5 * HOUR_NS])),
        price_micros_per_gpu_hour=draw(st.integers(0, 6)) * 500_001,
        currency=draw(st.sampled_from(["EUR", "EUR", "EUR", "USD"])),
        access_rtt_ns=draw(st.integers(0, 20)) * 100_000,
    )


@st.composite
def supplies(draw: st.DrawFn, most: int = 10, sites: int = 3) -> Supply:
    drawn = [draw(hosts(f"h{number:02d}", sites)) for number in range(draw(st.integers(0, most) | st.just(most)))]
    pairs = [(f"s{one}", f"s{other}") for one in range(1, sites + 1) for other in range(one, sites + 1)]
    measured = {pair: draw(st.integers(1, 40)) * 500_000 for pair in pairs if draw(st.integers(0, 5))}
    return supply_of(drawn, measured, None)


@st.composite
def wishes(draw: st.DrawFn) -> Accepted:
    per_host = draw(st.sampled_from([None, None, 1, 2]))
    return wish(
        draw(st.integers(1, 4)) * (per_host or draw(st.integers(1, 2))),
        model=draw(st.sampled_from(["H100", "H100", "h100", "NVIDIA H100", "A100"])),
        memory_bytes=draw(st.sampled_from([None, None, 80 * 10**9])),
        per_host=per_host,
        near=Near(
            max_rtt_ns=draw(st.none() | st.none() | st.integers(1, 200).map(lambda tenths: tenths * 100_000)),
            regions=draw(st.sampled_from([(), (), ("eu",), ("eu-north", "us")])),
        ),
        cap_micros=draw(st.none() | st.none() | st.integers(0, 40_000_000)),
        supplier=SupplierWish(
            soc2=draw(st.sampled_from(["any", "any", "prefer", "require"])),
            tier=draw(st.sampled_from([None, None, 2, 3])),
            tier_wish=draw(st.sampled_from(["require", "prefer"])),
        ),
        duration_ns=draw(st.integers(1, 4 * HOUR_NS)),
    )
