"""When it was: a host's boot clock, held between the witness's words.

A heartbeat was made after the countersignature whose nonce it carries and before its own. So at its instant b of the
boot clock the difference (UTC - b) lies between two known bounds; away from it the bounds widen by the drift that a
clock may have. Where words and clock contradict each other by more than the slack (a paused or cloned machine, a
stepped clock), the time between is nobody's: it is a gap. Nothing here believes the host's wall clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from proofs.spans import Span

DRIFT = 5000
"""A clock may be wrong by one part in so many: 200 ppm."""
SLACK_NS = 2 * 10**9
"""What two readings may differ beyond drift; absorbs a leap second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One heartbeat: made at `boot_ns` of the boot clock, after `after_ns` and before `before_ns` of the witness's."""

    boot_ns: int
    after_ns: int
    before_ns: int


class Stretch:
    """A run of anchors of one boot that agree: within it the boot clock stands for UTC."""

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        self.span: Span = (anchors[0].boot_ns, anchors[-1].boot_ns)
        self._at = [anchor.boot_ns for anchor in anchors]
        # Bounds of each anchor, times DRIFT, as lines that fall or rise with time: so the best is a running extreme.
        least = [(DRIFT * (anchor.after_ns - anchor.boot_ns), anchor.boot_ns) for anchor in anchors]
        most = [(DRIFT * (anchor.before_ns - anchor.boot_ns), anchor.boot_ns) for anchor in anchors]
        self._least_before = list(accumulate((bound + at for bound, at in least), max))
        self._least_after = list(accumulate((bound - at for bound, at in reversed(least)), max))[::-1]
        self._most_before = list(accumulate((bound - at for bound, at in most), min))
        self._most_after = list(accumulate((bound + at for bound, at in reversed(most)), min))[::-1]

    def earliest(self, boot_ns: int) -> int:
        """The earliest UTC that `boot_ns` can have been."""
        i = bisect_right(self._at, boot_ns)
        before = [self._least_before[i - 1] - boot_ns] if i else []
        after = [self._least_after[i] + boot_ns] if i < len(self._at) else []
        return boot_ns + max(*before, *after, -(2**63) * DRIFT) // DRIFT

    def latest(self, boot_ns: int) -> int:
        """The latest UTC that `boot_ns` can have been."""
        i = bisect_right(self._at, boot_ns)
        before = [self._most_before[i - 1] + boot_ns] if i else []
        after = [self._most_after[i] - boot_ns] if i < len(self._at) else []
        return boot_ns - (-min(*before, *after, 2**63 * DRIFT) // DRIFT)

    def certain(self, span: Span) -> Span:
        """The UTC that a span of the boot clock covers in any case; start ≥ end when it is too short for that."""
        return (self.latest(span[0]), self.earliest(span[1]))


def stretches(anchors: Sequence[Anchor], witness_gap_ns: int) -> tuple[Stretch, ...]:
    """Part the anchors of one boot, in order, wherever the witness was silent too long or the clocks disagree."""
    runs: list[_Run] = []
    for anchor in anchors:
        run = runs[-1] if runs else None
        if run is None or anchor.before_ns - run.anchors[-1].before_ns > witness_gap_ns:
            runs.append(_Run(anchor))
        elif run.contradicts(anchor):
            run.end_before_jump_to(anchor)
            runs.append(_Run(anchor))
        else:
            run.add(anchor)
    return tuple(Stretch(run.anchors) for run in runs)


class _Run:
    """Anchors that agree, and the extremes of their bounds, so that one more is compared with all of them at once."""

    def __init__(self, first: Anchor) -> None:
        self.anchors: list[Anchor] = []
        self._least, self._most = -(2**80), 2**80
        self.add(first)

    def add(self, anchor: Anchor) -> None:
        self.anchors.append(anchor)
        self._least = max(self._least, DRIFT * (anchor.after_ns - anchor.boot_ns) + anchor.boot_ns)
        self._most = min(self._most, DRIFT * (anchor.before_ns - anchor.boot_ns) - anchor.boot_ns)

    def contradicts(self, new: Anchor) -> bool:
        """Whether any anchor cannot be true together with `new`."""
        after, before = (DRIFT * (at - new.boot_ns) for at in (new.after_ns, new.before_ns))
        slack = DRIFT * SLACK_NS
        return after > self._most + new.boot_ns + slack or before < self._least - new.boot_ns - slack

    def end_before_jump_to(self, new: Anchor) -> None:
        """Drop what comes after the last anchor that contradicts `new`: the jump lies somewhere in between."""
        while len(self.anchors) > 1 and not _Run(self.anchors[-1]).contradicts(new):
            self.anchors.pop()
