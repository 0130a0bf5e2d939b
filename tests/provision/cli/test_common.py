"""What commands share: names that are none, files without end, questions nobody answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.cli.common import MOST_CHARACTERS, ask, read_text
from provision.errors import InvalidInput
from provision.home import Home
from tests.fakes.cli import Cli


@pytest.mark.parametrize("name", ["", "../../etc", "Demo", "-x-", "x" * 32, "a\udcff", "ünï"])
@pytest.mark.parametrize("command", ["status", "drift"])
def test_what_is_no_name_is_refused_and_leaves_nothing(home_here: Home, command: str, name: str) -> None:
    refused = Cli(home=home_here)(command, "--", name, code=2)
    assert refused.problems[0].startswith("expected a booking's name")
    assert not (home_here.root / "bookings").exists()


@pytest.mark.parametrize("command", ["drift", "resume", "release"])
def test_a_booking_that_never_was_leaves_nothing(home_here: Home, command: str) -> None:
    Cli(home=home_here)(command, "nope", code=2)
    assert not (home_here.root / "bookings").exists()


def test_a_file_without_end_is_read_to_a_limit() -> None:
    assert len(read_text(Path("/dev/zero"))) == MOST_CHARACTERS


def test_what_cannot_be_read_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff")
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "y", "No such file"), (tmp_path / "x", "byte 0")):
        with pytest.raises(InvalidInput, match=words):
            read_text(path)


def test_a_question_that_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        with pytest.raises(InvalidInput, match="expected an answer"):
            ask("Book these hosts?")
