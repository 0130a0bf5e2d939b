from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import InvalidInput
from provision.request.model import Egress, GpuNeed, Near, Price, RayOptions, Request, SupplierWish, Window
from provision.request.parse import parse

HOUR_NS = 3600 * 10**9

WHOLE = """\
name: demo
gpu: {model: H100, count: 6, memory: 80GB, hosts: 3}
window: {start: 2030-01-31T12:00:00+01:00, end: 2030-01-31T13:30:00Z}
near: {max_rtt: 5ms, region: [us, eu]}
price: {max_total: 40 EUR}
supplier: {soc2: require, tier: 3}
image: timelock/ray:2.60-py311
egress: ['10.0.0.0/8:443', '[2001:db8::/32]:53/udp']
ray: {head_cpus: 2}
"""

SMALL = """\
name: demo
gpu: {model: H100, count: 6}
window: {duration: 2h}
image: timelock/ray:1
"""


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as refusal:
        parse(text, "r.yaml")
    return list(refusal.value.problems)


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


def test_every_field() -> None:
    assert parse(WHOLE, "r.yaml") == Request(
        name="demo",
        gpu=GpuNeed(model="H100", count=6, memory_bytes=80 * 10**9, per_host=2, hosts=3),
        window=Window(start_ns=1_896_087_600 * 10**9, end_ns=1_896_096_600 * 10**9),
        near=Near(max_rtt_ns=5_000_000, regions=("eu", "us")),
        price=Price(max_total_micros=40_000_000, currency="EUR"),
        supplier=SupplierWish(soc2="require", tier=3),
        image="timelock/ray:2.60-py311",
        egress=(Egress(cidr="10.0.0.0/8", port=443), Egress(cidr="2001:db8::/32", port=53, protocol="udp")),
        ray=RayOptions(head_cpus=2),
    )


def test_what_is_left_out_is_no_limit() -> None:
    assert parse(SMALL, "r.yaml") == Request(
        name="demo", gpu=GpuNeed(model="H100", count=6), window=Window(duration_ns=2 * HOUR_NS), image="timelock/ray:1"
    )


def test_the_lines_of_fields_are_kept_for_later_messages() -> None:
    origin = parse(WHOLE, "r.yaml").origin
    assert origin.problem("window.start", "past") == "r.yaml:3: window.start: past"
    assert origin.problem("ray.more", "odd") == "r.yaml:9: ray.more: odd"


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    text = """\
name: Demo
gpu: {model: H100, count: 0, memroy: 80GB}
window: {start: yesterday, duration: 2 hours}
near: {max_rtt: 5m}
window: {start: now}
image: timelock/ray:1
"""
    assert problems(text) == [
        "r.yaml:1: name: expected 1 to 31 of a–z, 0–9 and '-', a letter first; found Demo",
        "r.yaml:2: gpu.memroy: unknown field; expected one of model, count, memory, per_host, hosts; "
        "did you mean memory?",
        "r.yaml:2: gpu.count: expected a whole number ≥ 1, found 0",
        "r.yaml:3: window.start: expected now or an instant with its offset such as 2030-01-31T12:00:00Z, "
        "found 'yesterday'",
        "r.yaml:3: window.duration: expected a duration such as 2h, 90m or 1h30m (units: d, h, m, s, ms, us, ns), "
        "found '2 hours'",
        "r.yaml:4: near.max_rtt: expected a round-trip time such as 5ms or 200us (units: s, ms, us, ns), found '5m'",
        "r.yaml:5: window: given twice, first at line 3",
    ]


@pytest.mark.parametrize(
    ("text", "count", "per_host", "hosts"),
    [
        ("count: 6", 6, None, None),
        ("count: 6, hosts: 3", 6, 2, 3),
        ("count: 6, per_host: 2", 6, 2, 3),
        ("per_host: 2, hosts: 3", 6, 2, 3),
        ("count: 6, per_host: 2, hosts: 3", 6, 2, 3),
    ],
)
def test_count_is_per_host_times_hosts(text: str, count: int, per_host: int | None, hosts: int | None) -> None:
    gpu = parse(changed("count: 6", text), "r.yaml").gpu
    assert (gpu.count, gpu.per_host, gpu.hosts) == (count, per_host, hosts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count: 6, per_host: 4", "gpu.count: expected a multiple of per_host (4), found 6"),
        ("count: 7, hosts: 3", "gpu.count: expected a multiple of hosts (3), found 7"),
        ("count: 6, per_host: 3, hosts: 3", "gpu.count: expected per_host × hosts = 9, found 6"),
        ("per_host: 2", "gpu.count: expected count, or both per_host and hosts; found per_host only"),
        ("hosts: 2", "gpu.count: expected count, or both per_host and hosts; found hosts only"),
        ("memory: 1GB", "gpu.count: expected count, or both per_host and hosts; found nothing"),
        ("count: '6'", "gpu.count: expected a whole number ≥ 1, found the text '6'"),
        ("count: 6.0", "gpu.count: expected a whole number ≥ 1, found 6.0"),
        ("count: 0x6", "gpu.count: expected a whole number ≥ 1, found 0x6"),
        ("count: -6", "gpu.count: expected a whole number ≥ 1, found -6"),
        ("count: 99999999999999999999999", "gpu.count: expected a whole number ≤ 1000000"),
        ("count: [6]", "gpu.count: expected a single value; found a list"),
        ("count: 6, memory: 80", "gpu.memory: expected a size such as 80GB or 80GiB (units: B, kB, MB, GB,"),
    ],
)
def test_bad_gpus(text: str, message: str) -> None:
    (problem,) = problems(changed("count: 6", text))
    assert problem.startswith(f"r.yaml:2: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{start: now}", "window.end: expected either end or duration, found neither"),
        ("{duration: 2h, end: 2030-01-01T00:00:00Z}", "window.end: expected either end or duration, found both"),
        (
            "{start: 2030-01-01T00:00:00Z, end: 2030-01-01T00:00:00Z}",
            "window.end: expected an instant after window.start (2030-01-01T00:00:00Z), found 2030-01-01T00:00:00Z",
        ),
        ("{duration: 0h}", "window.duration: expected a duration longer than nothing, found 0h"),
        ("{end: 2030-01-01T00:00:00}", "window.end: expected an instant with its offset"),
        ("2h", "window: expected a mapping with start, end, duration; found 2h"),
        ("", "window: expected a mapping with start, end, duration; found nothing"),
    ],
)
def test_bad_windows(text: str, message: str) -> None:
    (problem,) = problems(changed("{duration: 2h}", text))
    assert problem.startswith(f"r.yaml:3: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("near: {region: [EU]}", "near.region: expected a region such as eu or eu-west; found EU"),
        ("price: {max_total: 40}", "price.max_total: expected an amount and a currency such as 40 EUR"),
        ("supplier: {soc2: yes}", "supplier.soc2: expected one of require, prefer, any; found yes"),
        ("supplier: {tier: 5}", "supplier.tier: expected a whole number ≤ 4, found 5"),
        (
            "supplier: {tier: {like: 3}}",
            "supplier.tier: expected a tier from 1 to 4, {prefer: 3} or any; found a mapping",
        ),
        ("egress: [10.0.0.1/8:443]", "egress: expected none, or a list of destinations"),
        ("egress: [10.0.0.0/8:0]", "egress: expected none, or a list of destinations"),
        ("egress: all", "egress: expected none, or a list of destinations"),
        ("ray: {head_cpus: -1}", "ray.head_cpus: expected a whole number ≥ 0, found -1"),
        ("rays: {}", "rays: unknown field; expected one of name, gpu, window,"),
        ("<<: {a: b}", "<<: unknown field"),
    ],
)
def test_bad_fields(text: str, message: str) -> None:
    (problem,) = problems(SMALL + text)
    assert problem.startswith(f"r.yaml:5: {message}")


@pytest.mark.parametrize(
    ("text", "supplier"),
    [
        ("{tier: {prefer: 3}}", SupplierWish(tier=3, tier_wish="prefer")),
        ("{tier: {require: 3}}", SupplierWish(tier=3)),
        ("{tier: any, soc2: prefer}", SupplierWish(soc2="prefer")),
    ],
)
def test_wishes_of_suppliers(text: str, supplier: SupplierWish) -> None:
    assert parse(f"{SMALL}supplier: {text}", "r.yaml").supplier == supplier


def test_a_region_that_yaml_takes_for_a_truth_value_stays_text() -> None:
    assert parse(f"{SMALL}near: {{region: no}}", "r.yaml").near.regions == ("no",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "r.yaml:1: expected YAML"),
        ("a: b: c", "r.yaml:1: expected YAML"),
        ("a: 1\n---\nb: 2", "r.yaml:2: expected YAML"),
        ("\x00", "r.yaml: expected YAML"),
        ("[" * 5000, "r.yaml"),
        ("a" * 70_000, "r.yaml: expected at most 65536 characters, found 70000"),
        ("", "r.yaml: expected a mapping with name, gpu,"),
        ("- 1", "r.yaml: expected a mapping with name, gpu,"),
    ],
)
def test_what_is_no_request_at_all(text: str, message: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(message)


def test_tags_are_refused_and_never_obeyed() -> None:
    (problem,) = problems(SMALL.replace("name: demo", "name: !!python/name:os.system demo"))
    assert "expected a value without a tag" in problem


def test_a_list_that_holds_itself_ends() -> None:
    assert problems("name: &a [*a]\n" + SMALL.partition("\n")[2])


DOCUMENTS = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True),
        "gpu": st.fixed_dictionaries({"model": st.sampled_from(["H100", "A100"]), "count": st.integers(1, 64)}),
        "window": st.fixed_dictionaries({"duration": st.sampled_from(["2h", "120m", "90m", "1h30m"])}),
        "image": st.just("timelock/ray:1"),
    },
    optional={
        "near": st.fixed_dictionaries(
            {}, optional={"max_rtt": st.sampled_from(["5ms", "5000us"]), "region": st.just(["eu", "us"])}
        ),
        "price": st.fixed_dictionaries({}, optional={"max_total": st.sampled_from(["40 EUR", "40.00 EUR"])}),
        "supplier": st.fixed_dictionaries({}, optional={"soc2": st.sampled_from(["any", "require"])}),
    },
)


@given(DOCUMENTS, st.data())
def test_the_digest_does_not_depend_on_how_it_was_written(document: dict[str, object], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(document.items()))))
    flow = yaml.safe_dump(shuffled, default_flow_style=True, sort_keys=False)
    block = yaml.safe_dump(document, default_flow_style=False)
    one, two = parse(flow, "one.yaml"), parse(block, "two.yaml")
    assert one == two
    assert one.digest() == two.digest()


def test_the_digest_does_not_depend_on_units() -> None:
    other = WHOLE.replace("80GB", "80000MB").replace("5ms", "5000us").replace("40 EUR", "40.0 EUR")
    other = (
        other.replace("12:00:00+01:00", "11:00:00Z")
        .replace("[us, eu]", "[eu, us, eu]")
        .replace("hosts: 3", "per_host: 2")
    )
    assert parse(other, "r.yaml").digest() == parse(WHOLE, "r.yaml").digest()


@given(st.text(max_size=200))
def test_any_text_is_a_request_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        parse(text, "r.yaml")


@given(st.sampled_from(WHOLE.split()), st.text(st.sampled_from("{}[]:,'\"&*!|>% -\n9a"), max_size=4))
def test_a_broken_request_is_refused_or_another_one(word: str, splinter: str) -> None:
    with suppress(InvalidInput):
        assert isinstance(parse(WHOLE.replace(word, splinter, 1), "r.yaml"), Request)
