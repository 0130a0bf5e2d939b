"""How much of the window was watched, confirmed by the witness: in integer nanoseconds, nothing ever rounded up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proofs import spans
from proofs.clock import Stretch
from proofs.spans import Span, Spans


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Of one GPU over the window: covered time and the longest hole, both edges included."""

    gpu: str
    window_ns: int
    covered: Spans
    longest_gap_ns: int

    @classmethod
    def over(cls, window: Span, gpu: str, covered: Spans) -> Coverage:
        """Clip what was covered to the window, and measure."""
        return cls(
            gpu=gpu,
            window_ns=window[1] - window[0],
            covered=spans.intersection(covered, (window,)),
            longest_gap_ns=spans.longest(spans.gaps(covered, window)),
        )

    @property
    def covered_ns(self) -> int:
        """Covered time within the window."""
        return spans.total(self.covered)

    @property
    def parts_per_million(self) -> int:
        """Covered parts of a million, truncated."""
        return self.covered_ns * 1_000_000 // self.window_ns


def in_utc(watched: Spans, stretches: Iterable[Stretch]) -> Spans:
    """The part of UTC that a boot's watched time covers in any case, whatever the clocks' error."""
    return spans.union(
        stretch.certain(span) for stretch in stretches for span in spans.intersection(watched, (stretch.span,))
    )
