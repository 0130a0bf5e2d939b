from __future__ import annotations

import json
from pathlib import Path

from stacks.journal import Journal


def test_lines_are_appended_with_their_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for time_ns in (1, 2):
        journal = Journal(path, clock_ns=lambda: time_ns)  # noqa: B023
        journal.append("step", {"host": "lab-a1"}, durable=True)
        journal.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"time_ns": 1, "event": "step", "host": "lab-a1"},
        {"time_ns": 2, "event": "step", "host": "lab-a1"},
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"time_ns": 1, "ev')
    journal = Journal(path)
    journal.append("done", {})
    journal.close()
    assert json.loads(path.read_text().splitlines()[1])["event"] == "done"


def test_without_a_path_nothing_is_kept() -> None:
    journal = Journal(None)
    journal.append("done", {})
    journal.close()
