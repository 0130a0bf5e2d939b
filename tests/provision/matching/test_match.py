from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

from hypothesis import event, given, settings
from hypothesis import strategies as st

from provision import units
from provision.matching.match import explain, match
from provision.matching.model import Plan, WhyNot
from provision.matching.price import highest_rate, total_micros
from provision.request.model import Accepted, Near, Price, SupplierWish
from provision.supply.document import supply_of
from provision.supply.model import UNMEASURED_NS, Supply
from tests.fakes.supplies import HOUR_NS, MS, START_NS, gpu, host, supplies, supply, wish, wishes


def plan_of(accepted: Accepted, offered: Supply, **situation: object) -> Plan:
    found = match(accepted, offered, **({"taken": frozenset(), "excluded": {}} | situation))  # type: ignore[arg-type]
    assert isinstance(found, Plan), explain(found)
    return found


def why_not_of(accepted: Accepted, offered: Supply, **situation: object) -> WhyNot:
    found = match(accepted, offered, **({"taken": frozenset(), "excluded": {}} | situation))  # type: ignore[arg-type]
    assert isinstance(found, WhyNot), found
    return found


def names(plan: Plan) -> list[str]:
    return [planned.host.name for planned in plan.hosts]


@st.composite
def situations(draw: st.DrawFn, offered: Supply) -> dict[str, object]:
    uuids = [gpu.uuid for host in offered.hosts for gpu in host.gpus]
    taken = draw(st.frozensets(st.sampled_from(uuids), max_size=6)) if uuids else frozenset()
    out = draw(st.lists(st.sampled_from([host.name for host in offered.hosts]), max_size=2)) if offered.hosts else []
    return {"taken": taken, "excluded": dict.fromkeys(out, "unreachable")}


@given(wishes(), supplies(), st.data())
def test_a_plan_keeps_every_limit(accepted: Accepted, offered: Supply, data: st.DataObject) -> None:
    situation = data.draw(situations(offered))
    found = match(accepted, offered, **situation)  # type: ignore[arg-type]
    event(type(found).__name__)
    if not isinstance(found, Plan):
        return
    gpus = [gpu for planned in found.hosts for gpu in planned.gpus]
    assert len({gpu.uuid for gpu in gpus}) == len(gpus) == accepted.gpu.count
    assert not {gpu.uuid for gpu in gpus} & situation["taken"]  # type: ignore[operator]
    assert not set(names(found)) & set(situation["excluded"])  # type: ignore[call-overload]
    assert all(gpu.memory_bytes >= (accepted.gpu.memory_bytes or 0) for gpu in gpus)
    if accepted.gpu.per_host:
        assert [len(planned.gpus) for planned in found.hosts] == [accepted.gpu.per_host] * (accepted.gpu.hosts or 0)
    for planned in found.hosts:
        assert set(planned.gpus) <= set(planned.host.gpus)
        assert planned.host.currency == found.currency == (accepted.price.currency or found.currency)
        wanted = accepted.near.regions
        assert not wanted or any(f"{planned.host.region}-".startswith(f"{region}-") for region in wanted)
        if accepted.supplier.soc2 == "require":
            assert (planned.host.soc2_until_ns or 0) >= accepted.end_ns
        if accepted.supplier.tier and accepted.supplier.tier_wish == "require":
            assert (planned.host.tier or 0) >= accepted.supplier.tier


@given(wishes(), supplies(), st.data())
def test_round_trip_and_price_of_a_plan_are_true(accepted: Accepted, offered: Supply, data: st.DataObject) -> None:
    found = match(accepted, offered, **data.draw(situations(offered)))  # type: ignore[arg-type]
    event(type(found).__name__)
    if not isinstance(found, Plan):
        return
    pairs = combinations([planned.host for planned in found.hosts], 2)
    assert found.worst_rtt_ns == max((offered.rtt_ns(one, other) for one, other in pairs), default=0)
    assert found.worst_rtt_ns < UNMEASURED_NS
    assert accepted.near.max_rtt_ns is None or found.worst_rtt_ns <= accepted.near.max_rtt_ns
    rate = sum(len(planned.gpus) * planned.host.price_micros_per_gpu_hour for planned in found.hosts)
    assert found.price_micros == total_micros(rate, accepted.seconds)
    assert accepted.price.max_total_micros is None or found.price_micros <= accepted.price.max_total_micros


@given(wishes(), supplies(), st.data())
def test_every_host_is_counted_once(accepted: Accepted, offered: Supply, data: st.DataObject) -> None:
    found = match(accepted, offered, **data.draw(situations(offered)))  # type: ignore[arg-type]
    reasons, planned = (found.why_not, len(found.hosts)) if isinstance(found, Plan) else (found.reasons, 0)
    assert sum(count for _, count in reasons) + planned == len(offered.hosts)
    assert len({reason for reason, _ in reasons}) == len(reasons)


@given(wishes(), supplies(), st.data())
def test_the_result_is_a_function_of_its_arguments(accepted: Accepted, offered: Supply, data: st.DataObject) -> None:
    situation = data.draw(situations(offered))
    shuffled = data.draw(st.permutations(offered.hosts))
    other = replace(offered, hosts=tuple(shuffled))
    one, two = (match(accepted, each, **situation) for each in (offered, other))  # type: ignore[arg-type]
    assert one == two
    if isinstance(one, Plan) and isinstance(two, Plan):
        assert one.encode() == two.encode()


@given(wishes(), supplies(sites=1, most=7), st.data())
def test_on_one_site_nothing_that_fits_is_missed(accepted: Accepted, offered: Supply, data: st.DataObject) -> None:
    """Without a price cap, and with hosts that all offer the same number, growth by distance is exact."""
    if accepted.gpu.per_host is None:
        return
    accepted = replace(accepted, price=Price(currency="EUR"), supplier=SupplierWish())
    found = match(accepted, offered, taken=frozenset(), excluded={})
    best = _least_worst_rtt(accepted, offered)
    assert isinstance(found, Plan) == (best is not None)
    if isinstance(found, Plan) and accepted.near.max_rtt_ns is None:
        assert found.worst_rtt_ns == best


def _least_worst_rtt(accepted: Accepted, offered: Supply) -> int | None:
    """Return the least worst round trip of all sets that fit, by trying every one."""
    need, limit = accepted.gpu, accepted.near.max_rtt_ns or UNMEASURED_NS - 1
    fitting = [
        host
        for host in offered.hosts
        if host.currency == "EUR"
        and (not accepted.near.regions or host.region.startswith(accepted.near.regions))
        and sum(
            gpu.model.lower() == need.model.lower().removeprefix("nvidia ")
            and gpu.memory_bytes >= (need.memory_bytes or 0)
            for gpu in host.gpus
        )
        >= (need.per_host or 1)
    ]
    worst = (
        max((offered.rtt_ns(one, other) for one, other in combinations(chosen, 2)), default=0)
        for chosen in combinations(fitting, need.hosts or 0)
    )
    return min((rtt for rtt in worst if rtt <= limit), default=None)


@settings(max_examples=200)
@given(wishes(), supplies())
def test_a_hint_is_true(accepted: Accepted, offered: Supply) -> None:
    found = match(accepted, offered, taken=frozenset(), excluded={})
    event(type(found).__name__)
    if not isinstance(found, WhyNot):
        return
    for relaxed in _relaxed(accepted, found.hint):
        assert isinstance(match(relaxed, offered, taken=frozenset(), excluded={}), Plan), found.hint


def _relaxed(accepted: Accepted, hint: str) -> list[Accepted]:
    """Return the wishes that a hint suggests, as far as it suggests a number."""
    relaxed = []
    if price := re.search(r"price.max_total to ([\d.]+ [A-Z]{3})", hint):
        micros, currency = units.parse_money(price[1])
        relaxed.append(replace(accepted, price=Price(max_total_micros=micros, currency=currency)))
    if rtt := re.search(r"near.max_rtt to (\S+ms)", hint):
        relaxed.append(replace(accepted, near=replace(accepted.near, max_rtt_ns=units.parse_rtt(rtt[1]))))
    if memory := re.search(r"gpu.memory to (\w+)", hint):
        relaxed.append(replace(accepted, gpu=replace(accepted.gpu, memory_bytes=units.parse_size(memory[1]))))
    if tier := re.search(r"supplier.tier to (\d)", hint):
        relaxed.append(replace(accepted, supplier=replace(accepted.supplier, tier=int(tier[1]))))
    if count := re.search(r"gpu.count to (\d+)", hint):
        number = int(count[1])
        hosts = accepted.gpu.per_host and number // accepted.gpu.per_host
        relaxed.append(replace(accepted, gpu=replace(accepted.gpu, count=number, hosts=hosts)))
    return relaxed


@given(wishes(), supplies(), st.data())
def test_a_replacement_keeps_the_living_and_what_they_hold(
    accepted: Accepted, offered: Supply, data: st.DataObject
) -> None:
    first = match(accepted, offered, taken=frozenset(), excluded={})
    if not isinstance(first, Plan) or len(first.hosts) == 1:
        return
    dead = data.draw(st.sampled_from(names(first)))
    held = frozenset(gpu.uuid for planned in first.hosts for gpu in planned.gpus)
    keep = tuple(name for name in names(first) if name != dead)
    second = match(accepted, offered, taken=held, excluded={dead: "unreachable"}, keep=keep, held=held)
    if isinstance(second, Plan):
        event("replaced")
        living = [planned for planned in first.hosts if planned.host.name != dead]
        assert list(second.hosts[: len(living)]) == living
        assert dead not in names(second)


def test_without_a_limit_the_nearest_are_chosen() -> None:
    offered = supply(
        host("a", site="s1", price_micros_per_gpu_hour=9_000_000),
        host("b", site="s1", price_micros_per_gpu_hour=9_000_000),
        host("c", site="s2"),
        s1_s2=5,
    )
    assert sorted(names(plan_of(wish(4), offered))) == ["a", "b"]


def test_within_a_limit_the_cheapest_are_chosen() -> None:
    offered = supply(
        host("a", site="s1", price_micros_per_gpu_hour=9_000_000),
        host("b", site="s1"),
        host("c", site="s2"),
        s1_s2=5,
    )
    near = Near(max_rtt_ns=10 * MS)
    plan = plan_of(wish(4, near=near), offered)
    assert sorted(names(plan)) == ["b", "c"]
    assert plan.worst_rtt_ns == 5_200_000
    assert plan.price_micros == 4 * 2 * 2_000_000


def test_the_limit_holds_for_the_worst_pair() -> None:
    offered = supply(
        host("a", site="s1", gpus=1),
        host("b", site="s2", gpus=1),
        host("c", site="s3", gpus=1),
        s1_s2=4,
        s1_s3=4,
        s2_s3=8,
    )
    assert isinstance(match(wish(3, near=Near(max_rtt_ns=6 * MS)), offered, taken=frozenset(), excluded={}), WhyNot)
    assert plan_of(wish(3, near=Near(max_rtt_ns=9 * MS)), offered).worst_rtt_ns == 8_200_000


def test_the_host_nearest_to_all_others_is_the_head() -> None:
    offered = supply(
        host("a", site="s1", gpus=1),
        host("b", site="s2", gpus=1),
        host("c", site="s3", gpus=1),
        s1_s2=4,
        s1_s3=8,
        s2_s3=4,
    )
    assert names(plan_of(wish(3), offered)) == ["b", "a", "c"]


def test_preferences_come_before_price_and_never_exclude() -> None:
    offered = supply(
        host("a", price_micros_per_gpu_hour=1, soc2_until_ns=None),
        host("b", price_micros_per_gpu_hour=1, tier=1),
        host("c"),
        host("d"),
    )
    liked = SupplierWish(soc2="prefer", tier=3, tier_wish="prefer")
    assert sorted(names(plan_of(wish(4, supplier=liked), offered))) == ["c", "d"]
    assert len(plan_of(wish(8, supplier=liked), offered).hosts) == 4


def test_each_reason_is_named_in_a_fixed_order() -> None:
    offered = supply(
        host("a", gpus=[gpu("a", 0, "A100"), gpu("a", 1, "A100")]),
        host("b", gpus=[gpu("b", 0, memory_bytes=40 * 10**9), gpu("b", 1, memory_bytes=40 * 10**9)]),
        host("c", gpus=1),
        host("d", region="us-east"),
        host("e", soc2_until_ns=START_NS),
        host("f", tier=None),
        host("g", currency="USD"),
        host("h", price_micros_per_gpu_hour=10**9),
        host("i"),
        host("j"),
        host("k"),
    )
    accepted = wish(
        4,
        per_host=2,
        memory_bytes=80 * 10**9,
        near=Near(regions=("eu",)),
        cap_micros=50 * 10**6,
        supplier=SupplierWish(soc2="require", tier=2),
    )
    why_not = why_not_of(
        accepted, offered, taken=frozenset({"j-g1"}), excluded={"i": "quarantined", "a": "unreachable"}
    )
    assert why_not.reasons == (
        ("another GPU model", 1),
        ("too little GPU memory", 1),
        ("fewer GPUs than gpu.per_host", 1),
        ("outside near.region", 1),
        ("no SOC2 evidence to the window's end", 1),
        ("data-centre tier too low", 1),
        ("priced in another currency", 1),
        ("alone dearer than price.max_total", 1),
        ("quarantined", 1),
        ("GPUs claimed in the window", 1),
        ("fits, but there are too few of them", 1),
    )
    assert (why_not.needed, why_not.available) == (4, 2)


def test_a_price_that_is_too_high_says_which_would_do() -> None:
    why_not = why_not_of(wish(4, cap_micros=10 * 10**6), supply(host("a"), host("b")))
    assert why_not.reasons == (("fits, but not enough others within price.max_total", 2),)
    assert why_not.hint == "raise price.max_total to 16.00 EUR, or lower gpu.count to 2"


def test_a_round_trip_that_is_too_short_says_which_would_do() -> None:
    offered = supply(host("a", site="s1"), host("b", site="s2"), s1_s2=7)
    why_not = why_not_of(wish(4, near=Near(max_rtt_ns=5 * MS)), offered)
    assert why_not.reasons == (("fits, but not enough others within near.max_rtt", 2),)
    assert why_not.hint == "raise near.max_rtt to 7.2ms, or lower gpu.count to 2"


def test_sites_between_which_nothing_was_measured_are_not_combined() -> None:
    why_not = why_not_of(wish(4), supply(host("a", site="s1"), host("b", site="s2")))
    assert why_not.reasons == (("fits, but the round trip to enough others is not measured", 2),)


def test_currencies_are_never_added_up() -> None:
    offered = supply(host("a"), host("b", currency="USD"))
    assert why_not_of(wish(4), offered).available == 2
    assert plan_of(wish(2), offered).currency == "EUR"
    assert plan_of(wish(2, cap_micros=10**8, currency="USD"), offered).currency == "USD"


def test_a_model_that_nobody_has_lists_those_there_are() -> None:
    why_not = why_not_of(wish(2, model="B300"), supply(host("a"), host("b", gpus=[gpu("b", 0, "A100")])))
    assert why_not.hint == "set gpu.model to one that the supply has: A100, H100"


def test_claimed_gpus_are_not_free_and_the_hint_says_so() -> None:
    why_not = why_not_of(wish(2), supply(host("a")), taken=frozenset({"a-g0"}))
    assert why_not.available == 1
    assert "choose another window" in why_not.hint
    assert [gpu.uuid for gpu in plan_of(wish(1), supply(host("a")), taken=frozenset({"a-g0"})).hosts[0].gpus] == [
        "a-g1"
    ]


def test_a_host_that_was_left_out_is_named_in_the_hint() -> None:
    why_not = why_not_of(wish(4), supply(host("a"), host("b")), excluded={"b": "unreachable"})
    assert why_not.reasons == (("unreachable", 1), ("fits, but there are too few of them", 1))
    assert why_not.hint == "lower gpu.count to 2, or bring back hosts that were left out (b)"


def test_a_kept_host_that_is_gone_is_a_why_not() -> None:
    why_not = why_not_of(wish(4), supply(host("a"), host("b")), keep=("a", "z"))
    assert why_not.reasons == (("fits, but not beside a host that had to stay", 2),)


def test_no_hosts_at_all() -> None:
    assert why_not_of(wish(1), supply()) == WhyNot(
        needed=1, available=0, reasons=(), hint="add hosts with GPUs to the inventory"
    )


def test_explain_says_what_was_needed_found_and_would_help() -> None:
    why_not = WhyNot(needed=6, available=4, reasons=(("unreachable", 1), ("another GPU model", 2)), hint="do this")
    assert explain(why_not).splitlines() == [
        "expected 6 free GPUs that fit, found 4 together",
        "  1 host: unreachable",
        "  2 hosts: another GPU model",
        "to get a plan: do this",
    ]


def test_a_part_of_a_second_is_charged_as_a_whole_one() -> None:
    assert wish(1, duration_ns=1).seconds == 1
    assert wish(1, duration_ns=2 * HOUR_NS).seconds == 7200
    assert plan_of(wish(2, duration_ns=1_500_000_000), supply(host("a"))).price_micros == round(4_000_000 * 2 / 3600)


@given(st.integers(0, 10**13), st.integers(1, 10**8), st.integers(0, 10**15))
def test_the_highest_rate_is_exactly_the_last_within_the_cap(rate: int, seconds: int, cap: int) -> None:
    highest = highest_rate(cap, seconds)
    assert total_micros(highest, seconds) <= cap < total_micros(highest + 1, seconds)
    assert (total_micros(rate, seconds) <= cap) == (rate <= highest)


def test_ten_thousand_hosts_give_the_same_plan_in_any_order() -> None:
    offered = [
        host(
            f"h{n:05d}",
            site=f"s{n % 40}",
            price_micros_per_gpu_hour=10**6 + n * 7919 % 10**6,
            access_rtt_ns=n * 31 % 977,
        )
        for n in range(10_000)
    ]
    pairs = {(f"s{a}", f"s{b}"): (1 + abs(a - b)) * MS for a in range(40) for b in range(40) if f"s{a}" < f"s{b}"}
    plans = [plan_of(wish(64, per_host=2), supply_of(order, pairs, None)) for order in (offered, offered[::-1])]
    assert plans[0].encode() == plans[1].encode()


def test_kept_hosts_stay_even_where_they_are_farther_apart_than_the_new_one() -> None:
    far, near = {"site": "s2"}, {"site": "s1"}
    offered = supply(host("a", **near), host("b", **far), host("c", **near), host("d", **far), s1_s2=9)
    held = frozenset({"a-g0", "a-g1", "b-g0", "b-g1"})
    plan = plan_of(wish(6, per_host=2), offered, taken=held, keep=("b", "a"), held=held)
    assert names(plan) == ["b", "a", "c"]
    assert plan.worst_rtt_ns == 9_200_000
