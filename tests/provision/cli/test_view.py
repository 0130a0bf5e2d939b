"""Progress: a table that a terminal shows, lines that a pipe gets, nothing with --json."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from provision.booking.progress import HostStep, Phase
from provision.cli.view import Board, watching


def step(state: str, what: str = "unit x", role: str = "engine") -> HostStep:
    return HostStep(host="a1", role=role, step=what, state=state)


def test_board_shows_the_last_word_of_each_role() -> None:
    board = Board(title="book demo")
    for event in (Phase(name="provisioning"), step("changed"), step("done"), step("failed", role="mesh")):
        board.take(event)
    out = io.StringIO()
    Console(file=out, width=140).print(board)
    text = out.getvalue()
    assert "book demo" in text
    assert "provisioning" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("a1"))
    assert row.split()[1:8] == ["·", "·", "✓", "·", "✗", "·", "·"]


def test_a_pipe_gets_lines_without_what_was_right_already(capsys: pytest.CaptureFixture[str]) -> None:
    with watching("book demo") as view:
        for event in (Phase(name="match", detail="x"), step("unchanged"), step("changed"), step("done", "same")):
            view.tell(event)
    lines = [line.split(" s  ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["match: x", "a1 engine: unit x changed"]


def test_json_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with watching("book demo", json=True) as view:
        view.tell(step("changed"))
        with view.paused():
            pass
    assert capsys.readouterr() == ("", "")
