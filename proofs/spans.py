"""Sets of time as sorted, disjoint, half-open spans of integer nanoseconds; nothing is ever rounded."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]
Spans = tuple[Span, ...]


def union(spans: Iterable[Span]) -> Spans:
    """Join what overlaps or touches; empty spans vanish."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def intersection(left: Spans, right: Spans) -> Spans:
    """What is in both."""
    found: list[Span] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            found.append((start, end))
        if left[i][1] <= right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def difference(spans: Spans, taken: Spans) -> Spans:
    """What is in `spans` and not in `taken`."""
    if not spans:
        return ()
    inside = (spans[0][0], spans[-1][1])
    return intersection(spans, gaps(taken, inside))


def gaps(spans: Spans, window: Span) -> Spans:
    """What of `window` is in none of `spans`."""
    found: list[Span] = []
    at = window[0]
    for start, end in spans:
        if start > at:
            found.append((at, min(start, window[1])))
        at = max(at, end)
        if at >= window[1]:
            break
    if at < window[1]:
        found.append((at, window[1]))
    return union(found)


def total(spans: Spans) -> int:
    """How long all of them are together."""
    return sum(end - start for start, end in spans)


def longest(spans: Spans) -> int:
    """How long the longest is; 0 if there is none."""
    return max((end - start for start, end in spans), default=0)
