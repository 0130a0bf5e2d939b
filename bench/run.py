"""Runs benchmarks and keeps what they found: `python -m bench.run [NAME …]`, all of them without a name.

A benchmark is a module of this folder with a function `measure` that yields rows; its docstring is its title.
Benchmarks are never tests: a missed goal is written down and changes no exit status.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType

from bench import machine
from bench.render import render
from bench.result import RESULTS, Result, read, write

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def main(names: list[str]) -> int:
    """Run the benchmarks called `names`, or all, and write the page anew."""
    known = benchmarks()
    if unknown := sorted(set(names) - set(known)):
        print(f"no benchmark called {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        print(f"bench: {name} …", flush=True)
        result = run(name, known[name])
        for row in result.rows:
            print(f"  {row.name}: {row.value:g} {row.unit} (goal: {row.goal or 'none'}, met: {row.met})", flush=True)
        print(f"  → {write(result).relative_to(PAGE.parents[1])}")
    PAGE.write_text(render([read(path) for path in sorted(RESULTS.glob("*.json"))]))
    return 0


def benchmarks() -> dict[str, ModuleType]:
    """Return the modules of this folder that measure something, by name."""
    stems = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if "def measure(" in path.read_text())
    return {stem: import_module(f"bench.{stem}") for stem in stems if stem != Path(__file__).stem}


def run(name: str, module: ModuleType) -> Result:
    """Measure one benchmark."""
    facts = machine.facts()
    return Result(
        name=name,
        title=(module.__doc__ or "").strip(),
        measured=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=machine.commit(),
        machine=facts,
        rows=tuple(module.measure()),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
