"""docs/benchmarks.md from the files in bench/results: the table is never written by hand."""

from __future__ import annotations

from collections.abc import Iterator

from bench.result import Result, Row

HEAD = """# Benchmarks

Made by `make bench` from `bench/results/*.json`; do not edit. Each figure is the median of its runs (smallest and
largest behind it); the reference ran turn by turn with it. A goal that is missed says so.
"""
COLUMNS = ("what", "median", "spread", "runs", "reference", "its median", "ratio", "goal", "met")


def render(results: list[Result]) -> str:
    """Return the page."""
    return "\n".join([HEAD, *(line for result in results for line in _section(result))])


def _section(result: Result) -> Iterator[str]:
    yield f"## {result.name}\n\n{result.title}\n"
    yield from (f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|")
    yield from (_line(row) for row in result.rows)
    yield f"\nMeasured {result.measured} at {result.commit}: {_machine(result.machine)}.\n"


def _line(row: Row) -> str:
    low, high = row.spread
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    cells = (
        *(row.name, f"{row.value:g} {row.unit}", f"{low:g}–{high:g}", str(row.runs)),
        *(row.reference, _number(row.reference_value, f" {row.unit}"), _number(row.ratio), row.goal, met),
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:g}{unit}"


def _machine(facts: dict[str, str | int | float]) -> str:
    memory = f"{int(facts['memory_bytes']) / 2**30:.0f} GiB"
    system = f"{facts['distribution']}, kernel {facts['kernel']}, Python {facts['python']}"
    return f"{facts['cores']} cores ({facts['processor']}), {memory}, {system}, load {facts['load']} before"
