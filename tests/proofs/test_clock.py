"""Between the witness's words: what is certain, and where clocks contradict them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proofs.clock import DRIFT, SLACK_NS, Anchor, stretches

SECOND_NS = 10**9
GAP_NS = 120 * SECOND_NS


def anchors(offset_ns: int, delays_ns: list[int], cadence_ns: int = 15 * SECOND_NS) -> list[Anchor]:
    """Heartbeats of an honest host whose boot clock is UTC - offset, countersigned after these delays."""
    made, last = [], offset_ns
    for number, delay_ns in enumerate(delays_ns):
        boot_ns = number * cadence_ns
        made.append(Anchor(boot_ns=boot_ns, after_ns=last, before_ns=boot_ns + offset_ns + delay_ns))
        last = made[-1].before_ns
    return made


DELAYS = st.lists(st.integers(0, 5 * SECOND_NS), min_size=2, max_size=30)


@given(st.integers(0, 2**62), DELAYS, st.data())
def test_an_honest_clock_is_one_stretch_and_the_truth_lies_within_its_bounds(
    offset_ns: int, delays_ns: list[int], data: st.DataObject
) -> None:
    (stretch,) = stretches(anchors(offset_ns, delays_ns), GAP_NS)
    at = data.draw(st.integers(*stretch.span))
    assert stretch.earliest(at) <= at + offset_ns <= stretch.latest(at)


@given(DELAYS, st.integers(-DRIFT * 3, DRIFT * 3))
def test_a_clock_that_drifts_within_its_limit_is_still_one_stretch(delays_ns: list[int], parts: int) -> None:
    slope = max(abs(parts), DRIFT) * (1 if parts >= 0 else -1)
    drifting = [
        Anchor(boot_ns=anchor.boot_ns + anchor.boot_ns // slope, after_ns=anchor.after_ns, before_ns=anchor.before_ns)
        for anchor in anchors(0, delays_ns)
    ]
    assert len(stretches(drifting, GAP_NS)) == 1


@given(st.integers(SLACK_NS + 40 * SECOND_NS, 10**12), st.integers(3, 10), st.integers(3, 10))
def test_a_pause_parts_the_stretch_and_belongs_to_neither_side(pause_ns: int, before: int, after: int) -> None:
    honest = anchors(0, [10**7] * (before + after))
    paused, last = honest[:before], honest[before - 1].before_ns
    for anchor in honest[before:]:
        paused.append(Anchor(boot_ns=anchor.boot_ns, after_ns=last, before_ns=anchor.before_ns + pause_ns))
        last = paused[-1].before_ns
    found = stretches(paused, 10**13)
    assert len(found) >= 2
    for stretch in found:
        start, end = stretch.certain(stretch.span)
        assert end - start <= stretch.span[1] - stretch.span[0] + SLACK_NS


def test_a_silent_witness_parts_the_stretch() -> None:
    made = anchors(0, [0] * 4, cadence_ns=130 * SECOND_NS)
    assert [stretch.span for stretch in stretches(made, GAP_NS)] == [(a.boot_ns, a.boot_ns) for a in made]
    assert stretches([], GAP_NS) == ()


def test_a_span_too_short_for_its_uncertainty_covers_nothing() -> None:
    (stretch,) = stretches(anchors(0, [SECOND_NS] * 3), GAP_NS)
    start, end = stretch.certain((5, 6))
    assert start >= end
