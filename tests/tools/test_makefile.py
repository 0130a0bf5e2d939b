"""What make would run: nothing is run here."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make(*arguments: str) -> str:
    done = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def test_help_lists_the_targets_that_people_type() -> None:
    listed = {line.split()[1] for line in make("help").splitlines() if line.startswith("  make ")}
    assert listed >= {"book", "test", "test-full", "lint", "bench", "lab-up", "lab-down", "clean", "help", "setup"}
    assert make() == make("help")


def test_book_without_an_inventory_brings_a_lab() -> None:
    plan = make("--dry-run", "book", "REQUEST=mine.yaml", "HOSTS=5")
    assert plan.index("tools/setup") < plan.index("lab up --hosts 5") < plan.index("timelock book mine.yaml")


def test_book_with_an_inventory_brings_none() -> None:
    plan = make("--dry-run", "book", "INVENTORY=hosts")
    assert "lab up" not in plan
    assert "--inventory hosts" in plan
