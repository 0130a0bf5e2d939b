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


def drawn(board: Board, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(board)
    return out.getvalue()


def test_words_of_a_host_are_neither_markup_nor_commands_to_the_terminal() -> None:
    board = Board(title="book demo")
    for event in (Phase(name="match", detail="[/eu]"), step("changed", "file [/etc/x] \x1b[2J")):
        board.take(event)
    assert "[/eu]" in drawn(board, 140)
    assert "file [/etc/x] \N{REPLACEMENT CHARACTER}" in drawn(board, 140)


@pytest.mark.parametrize("width", [50, 80, 200])
def test_a_host_keeps_its_name_on_any_terminal(width: int) -> None:
    board = Board(title="book demo")
    for role in ("identity", "baseline"):
        board.take(HostStep(host="supplier-host-0001", role=role, step="x" * 90, state="done"))
    board.take(HostStep(host="b", role="mesh", step="y" * 90, state="changed"))
    row = next(line for line in drawn(board, width).splitlines() if "supplier-host-0001" in line)
    assert row.count("✓") == 2
    assert row.count("·") == 6
