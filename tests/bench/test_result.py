from pathlib import Path

import pytest

from bench.render import render
from bench.result import Goal, Result, Row, read, row, write


def result(*rows: Row) -> Result:
    machine: dict[str, str | int | float] = {
        **{"processor": "some", "cores": 2, "memory_bytes": 2**34, "kernel": "6.1", "load": 0.5},
        **{"distribution": "Debian", "python": "3.11.2"},
    }
    return Result(name="toy", title="A toy.", measured="2026-01-01 00:00 UTC", commit="abc", machine=machine, rows=rows)


def test_a_row_is_the_median_beside_its_reference() -> None:
    made = row("x", [3.0, 1.0, 2.0], reference="y", reference_samples=[1.0], goal=Goal(on="ratio", at_most=1.3))
    assert (made.value, made.spread, made.runs, made.ratio, made.met) == (2.0, (1.0, 3.0), 3, 2.0, False)
    assert made.goal == "ratio ≤ 1.3"


@pytest.mark.parametrize(
    ("goal", "met"), [(None, None), (Goal(on="value", at_most=2), True), (Goal(on="ratio", at_most=2), None)]
)
def test_a_goal_without_what_it_needs_is_not_judged(goal: Goal | None, met: bool | None) -> None:
    assert row("x", [2.0], goal=goal).met is met


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    kept = result(row("x", [1.0, 2.0], unit="MB"), row("y", [1.0], goal=Goal(on="value", at_most=0.5)))
    assert read(write(kept, tmp_path)) == kept


def test_a_missed_goal_is_shown_as_missed() -> None:
    page = render([result(row("y", [1.0], goal=Goal(on="value", at_most=0.5)))])
    assert "| y | 1 s | 1–1 | 1 |  |  |  | value ≤ 0.5 | **no** |" in page
    assert "2 cores (some), 16 GiB, Debian, kernel 6.1, Python 3.11.2, load 0.5 before" in page
