"""`timelock --help`: no heavy import before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.clock import interleaved, seconds
from bench.result import Goal, Row, row

RUNS = 15


def measure() -> Iterator[Row]:
    """Time the help page beside a Python that does nothing."""
    timelock = str(Path(sys.executable).with_name("timelock"))
    shown, floor = interleaved(
        RUNS, partial(seconds, [timelock, "--help"]), partial(seconds, [sys.executable, "-c", "pass"])
    )
    yield row(
        "timelock --help",
        shown,
        reference="python -c pass",
        reference_samples=floor,
        goal=Goal(on="value", at_most=0.3),
    )
