"""The journal: whole lines once, a torn one left for later, a spoilt one skipped."""

from __future__ import annotations

from pathlib import Path

from provision.booking.progress import read_journal


def test_reads_from_an_offset_and_leaves_the_unfinished_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2}\n{"n":')
    lines = list(read_journal(path))
    assert [line.value["n"] for line in lines] == [1, 2]
    with path.open("ab") as file:
        file.write(b"3}\n")
    assert [line.value["n"] for line in read_journal(path, lines[-1].next_offset)] == [3]


def test_a_line_torn_by_a_crash_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n":1}\n{"n"\n[3]\n{"n":4}\n')
    assert [line.value["n"] for line in read_journal(path)] == [1, 4]


def test_no_journal_is_no_lines(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "none")) == []
