from __future__ import annotations

from dataclasses import replace

import pytest

from provision.errors import InvalidInput
from provision.request.model import GpuNeed, Near, Request, SupplierWish, Window, difference
from provision.request.parse import parse

NOW_NS = 1_900_000_000 * 10**9
HOUR_NS = 3600 * 10**9
IMAGE = "10.77.0.1:5000/timelock/ray@sha256:" + "0" * 64


def request(**window: int) -> Request:
    return Request(name="demo", gpu=GpuNeed(model="H100", count=6), window=Window(**window), image="timelock/ray:1")


def test_now_is_the_given_instant() -> None:
    accepted = request(duration_ns=2 * HOUR_NS).accept(NOW_NS, IMAGE)
    assert (accepted.start_ns, accepted.end_ns, accepted.image) == (NOW_NS, NOW_NS + 2 * HOUR_NS, IMAGE)
    assert accepted.seconds == 7200


def test_a_future_start_stays() -> None:
    accepted = request(start_ns=NOW_NS + HOUR_NS, end_ns=NOW_NS + 3 * HOUR_NS).accept(NOW_NS, IMAGE)
    assert (accepted.start_ns, accepted.end_ns) == (NOW_NS + HOUR_NS, NOW_NS + 3 * HOUR_NS)


@pytest.mark.parametrize("window", [{"duration_ns": HOUR_NS}, {"start_ns": NOW_NS + 5, "duration_ns": HOUR_NS}])
def test_accepting_again_with_the_bookings_own_start_gives_the_same(window: dict[str, int]) -> None:
    accepted = request(**window).accept(NOW_NS, IMAGE)
    assert request(**window).accept(accepted.start_ns, accepted.image) == accepted


def test_a_window_in_the_past_is_refused_with_its_line() -> None:
    text = (
        "name: a\ngpu: {model: H100, count: 1}\nwindow:\n  start: 2020-01-01T00:00:00Z\n  duration: 1h\nimage: i/j:1\n"
    )
    with pytest.raises(InvalidInput) as refusal:
        parse(text, "r.yaml").accept(NOW_NS, "i/j:1")
    now = "2030-03-17T17:46:40Z"
    assert refusal.value.problems == (
        "r.yaml:4: window.start: expected 'now' or a later instant, found 2020-01-01T00:00:00Z, "
        f"which is past (it is {now})",
        f"r.yaml:3: window.end: expected an instant after {now}, found 2020-01-01T01:00:00Z",
        "r.yaml:6: image: expected registry/repository@sha256:…, found 'i/j:1'",
    )


def test_an_end_that_has_passed_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"window\.end: expected an instant after"):
        request(end_ns=NOW_NS).accept(NOW_NS, IMAGE)


@pytest.mark.parametrize("image", ["timelock/ray:1", "timelock/ray", "ray@sha256:" + "0" * 64, IMAGE[:-1], ""])
def test_only_an_image_by_digest_is_accepted(image: str) -> None:
    with pytest.raises(InvalidInput, match="registry/repository@sha256"):
        request(duration_ns=HOUR_NS).accept(NOW_NS, image)


def test_difference_names_each_field_that_changed() -> None:
    old = request(duration_ns=2 * HOUR_NS)
    new = replace(
        old,
        gpu=GpuNeed(model="H100", count=4, memory_bytes=80 * 10**9),
        near=Near(regions=("eu", "us")),
        supplier=SupplierWish(tier=3),
    )
    assert difference(old, new) == (
        "gpu.count: 6 → 4",
        "gpu.memory: nothing → 80GB",
        "near.region: nothing → eu, us",
        "supplier.tier: nothing → require 3",
    )
    assert difference(old, old) == ()


def test_equal_requests_have_no_difference_and_one_digest() -> None:
    assert request(duration_ns=HOUR_NS).digest() == request(duration_ns=HOUR_NS).digest()
    assert request(duration_ns=HOUR_NS).digest() != request(duration_ns=2 * HOUR_NS).digest()
