"""What is kept about a booking comes back whole, or the error says what was expected, where, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.booking.kept import read_numbers, read_text
from provision.booking.survey import pin_host_keys
from provision.errors import MachineCannot

BINARY = b"\xd6\x00\xff"


def test_what_is_whole_comes_back(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("é\n")
    (tmp_path / "numbers").write_text('{"a1": 1}')
    assert read_text(tmp_path / "text", "words", "look") == "é\n"
    assert read_numbers(tmp_path / "numbers", "numbers", "look") == {"a1": 1}


@pytest.mark.parametrize("content", [None, b"", b" \n", BINARY])
def test_damaged_text(tmp_path: Path, content: bytes | None) -> None:
    place = tmp_path / "text"
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(MachineCannot) as refusal:
        read_text(place, "words", "put it back")
    assert refusal.value.message == f"{place}: expected words, found it missing or damaged"
    assert refusal.value.next_step == "put it back"


@pytest.mark.parametrize("content", [b"", BINARY, b"{", b"[]", b'{"a": "1"}', b'{"a": true}'])
def test_damaged_numbers(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "numbers").write_bytes(content)
    with pytest.raises(MachineCannot, match="expected numbers"):
        read_numbers(tmp_path / "numbers", "numbers", "put it back")


@pytest.mark.parametrize("content", [BINARY, b"oneword\n"])
def test_damaged_host_keys_are_never_taken_for_pins(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "known_hosts"
    place.write_bytes(content)
    with pytest.raises(MachineCannot, match="expected pinned host keys"):
        pin_host_keys((), place)
