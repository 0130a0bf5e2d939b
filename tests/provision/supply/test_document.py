from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from provision.supply.document import decode, encode, supply_of
from provision.supply.model import SAME_SITE_RTT_NS, UNMEASURED_NS, Registry, Supply
from tests.fakes.supplies import MS, host, supplies, supply


@given(supplies())
def test_decode_is_the_inverse_of_encode(offered: Supply) -> None:
    assert decode(encode(offered)) == offered


@given(supplies(), st.data())
def test_the_digest_does_not_depend_on_order(offered: Supply, data: st.DataObject) -> None:
    hosts = data.draw(st.permutations(offered.hosts))
    pairs = dict(data.draw(st.permutations(list(offered.site_rtt.items()))))
    assert supply_of(hosts, pairs, None) == offered


def test_the_digest_depends_on_everything_else() -> None:
    one = host("a")
    others = [replace(one, cpus=17), replace(one, management=()), replace(one, gpus=one.gpus[:1])]
    supplies = [supply_of([each], {}, None) for each in (one, *others)]
    supplies.append(supply_of([one], {("s1", "s2"): 1}, None))
    supplies.append(supply_of([one], {}, Registry(address="r:5000")))
    assert len({each.digest for each in supplies}) == len(supplies)


def test_round_trips_add_up() -> None:
    near, far, other = host("a", access_rtt_ns=1), host("b", site="s2", access_rtt_ns=2), host("c", access_rtt_ns=4)
    offered = supply(near, far, other, s1_s2=5)
    assert offered.rtt_ns(near, far) == offered.rtt_ns(far, near) == 5 * MS + 3
    assert offered.rtt_ns(near, other) == SAME_SITE_RTT_NS + 5
    assert offered.rtt_ns(near, near) == 0
    assert supply(near, far).rtt_ns(near, far) > UNMEASURED_NS
