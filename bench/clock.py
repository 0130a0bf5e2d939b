"""Timing of commands, and of two of them turn by turn, so that both meet the same machine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from time import perf_counter


def seconds(command: Sequence[str], *, timeout_seconds: float = 600) -> float:
    """Run `command`, which must succeed, and return its wall time in seconds."""
    start = perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=timeout_seconds, check=True)
    return perf_counter() - start


def interleaved(runs: int, *measures: Callable[[], float]) -> tuple[list[float], ...]:
    """Call each of `measures` in turn, `runs` times round, and return the samples of each."""
    rounds = [[measure() for measure in measures] for _ in range(runs)]
    return tuple(list(samples) for samples in zip(*rounds, strict=True))
