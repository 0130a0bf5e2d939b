import subprocess

import pytest

from bench.clock import interleaved, seconds


def test_turn_by_turn() -> None:
    calls: list[str] = []

    def measure(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    assert interleaved(2, lambda: measure("a"), lambda: measure("b")) == ([1.0, 3.0], [2.0, 4.0])
    assert calls == ["a", "b", "a", "b"]


def test_a_command_that_fails_gives_no_figure() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        seconds(["false"])
    assert seconds(["true"]) > 0
