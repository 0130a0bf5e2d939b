from pathlib import Path

import pytest

from tools import readme

TEXT = "# Toy\n\n<!-- help: pytest -->\nold\n<!-- /help -->\n\nend\n"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    monkeypatch.setattr(readme, "README", path)
    return path


def test_a_stale_help_text_is_shown_and_written(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert readme.main(["check"]) == 1
    assert "-old" in capsys.readouterr().out
    assert readme.main(["write"]) == 0
    assert "usage: pytest" in page.read_text()
    assert page.read_text().endswith("```\n<!-- /help -->\n\nend\n")
    assert readme.main(["check"]) == 0


def test_a_word_it_does_not_know(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert readme.main(["chekc"]) == 2
    assert "usage:" in capsys.readouterr().out
    assert page.read_text() == TEXT
