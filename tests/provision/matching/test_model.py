from __future__ import annotations

import json

import pytest
from hypothesis import event, given

from proofs import canonical
from provision.errors import MachineCannot
from provision.matching.match import match
from provision.matching.model import Plan
from provision.request.model import Accepted
from provision.supply.model import Supply
from tests.fakes.supplies import host, supplies, supply, wish, wishes


@pytest.fixture
def plan() -> Plan:
    found = match(wish(4), supply(host("a"), host("b"), host("c")), taken=frozenset(), excluded={})
    assert isinstance(found, Plan)
    return found


@given(wishes(), supplies())
def test_decode_is_the_inverse_of_encode(accepted: Accepted, offered: Supply) -> None:
    found = match(accepted, offered, taken=frozenset(), excluded={})
    event(type(found).__name__)
    if not isinstance(found, Plan):
        return
    assert Plan.decode(found.encode()) == found


def test_the_digest_is_that_of_the_bytes(plan: Plan) -> None:
    assert plan.digest == Plan.decode(plan.encode()).digest
    assert len(plan.digest) == 64
    assert plan.gpu_count == 4


def test_bytes_are_canonical_and_carry_a_version(plan: Plan) -> None:
    value = canonical.decode(plan.encode())
    assert isinstance(value, dict)
    assert value["v"] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", 2),
        ("hosts", 3),
        ("hosts", [{"host": {}, "gpus": []}]),
        ("why_not", [["a", "1"]]),
        ("start_ns", None),
        ("more", 1),
    ],
)
def test_what_is_no_plan_is_refused(plan: Plan, name: str, value: object) -> None:
    document = json.loads(plan.encode()) | {name: value}
    if name == "start_ns":
        del document["start_ns"]
    with pytest.raises(MachineCannot, match="plan: expected the canonical bytes"):
        Plan.decode(canonical.encode(document))


def test_a_damaged_plan_is_refused(plan: Plan) -> None:
    with pytest.raises(MachineCannot):
        Plan.decode(plan.encode()[:-1])
    with pytest.raises(MachineCannot):
        Plan.decode(plan.encode() + b"\n")


def test_a_planned_gpu_must_be_one_of_the_host(plan: Plan) -> None:
    document = json.loads(plan.encode())
    document["hosts"][0]["gpus"] = ["another"]
    with pytest.raises(MachineCannot):
        Plan.decode(canonical.encode(document))
