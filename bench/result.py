"""What a benchmark found, as it is kept: rows against a reference that ran in the same minutes, and the machine.

Writes and reads `bench/results/<name>.json`. It measures nothing and decides nothing but whether a goal is met.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """An upper bound, on the value itself or on its ratio to the reference."""

    on: Literal["value", "ratio"]
    at_most: float

    def __str__(self) -> str:
        return f"{self.on} ≤ {self.at_most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: the median of several runs, their spread, and the reference measured beside it."""

    name: str
    value: float
    unit: str
    runs: int
    spread: tuple[float, float]
    reference: str
    reference_value: float | None
    ratio: float | None
    goal: str
    met: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All rows of one benchmark, where and when they were measured, and at which commit."""

    name: str
    title: str
    measured: str
    commit: str
    machine: dict[str, str | int | float]
    rows: tuple[Row, ...]


def row(
    name: str,
    samples: Sequence[float],
    *,
    unit: str = "s",
    reference: str = "",
    reference_samples: Sequence[float] = (),
    goal: Goal | None = None,
) -> Row:
    """Sum up `samples` (at least one), all in `unit`; a goal on the ratio needs a reference."""
    value = median(samples)
    reference_value = median(reference_samples) if reference_samples else None
    ratio = value / reference_value if reference_value else None
    judged = {"value": value, "ratio": ratio}[goal.on] if goal else None
    return Row(
        name=name,
        value=round(value, 4),
        unit=unit,
        runs=len(samples),
        spread=(round(min(samples), 4), round(max(samples), 4)),
        reference=reference,
        reference_value=None if reference_value is None else round(reference_value, 4),
        ratio=None if ratio is None else round(ratio, 2),
        goal=str(goal) if goal else "",
        met=judged <= goal.at_most if goal and judged is not None else None,
    )


def write(result: Result, directory: Path = RESULTS) -> Path:
    """Write `result` to its file and return the path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.name}.json"
    path.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")
    return path


def read(path: Path) -> Result:
    """Read one file of `write`."""
    fields = json.loads(path.read_text())
    rows = tuple(Row(**{**line, "spread": tuple(line["spread"])}) for line in fields.pop("rows"))
    return Result(rows=rows, **fields)
