"""Sets of time, against sets of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proofs import spans
from proofs.spans import Spans

SPANS = st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), max_size=8).map(spans.union)
WINDOW = st.tuples(st.integers(-25, 0), st.integers(1, 25))


def numbers(found: Spans) -> set[int]:
    return {at for start, end in found for at in range(start, end)}


def is_tidy(found: Spans) -> bool:
    ends = [edge for span in found for edge in span]
    return all(start < end for start, end in found) and sorted(set(ends)) == ends


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), max_size=8))
def test_union(loose: list[tuple[int, int]]) -> None:
    found = spans.union(loose)
    assert is_tidy(found)
    assert numbers(found) == {at for start, end in loose for at in range(start, end)}
    assert spans.total(found) == len(numbers(found))


@given(SPANS, SPANS)
def test_intersection_and_difference(left: Spans, right: Spans) -> None:
    both, rest = spans.intersection(left, right), spans.difference(left, right)
    assert is_tidy(both)
    assert is_tidy(rest)
    assert numbers(both) == numbers(left) & numbers(right)
    assert numbers(rest) == numbers(left) - numbers(right)


@given(SPANS, WINDOW)
def test_gaps(found: Spans, window: tuple[int, int]) -> None:
    holes = spans.gaps(found, window)
    assert is_tidy(holes)
    assert numbers(holes) == set(range(*window)) - numbers(found)
    assert spans.longest(holes) == max((end - start for start, end in holes), default=0)
