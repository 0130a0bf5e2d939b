"""What is kept in a booking's directory, read back: whole, or an error that says what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from provision.errors import MachineCannot


def read_text(path: Path, what: str, next_step: str) -> str:
    """Return the text of a file that this booking was accepted with.

    Raises:
        MachineCannot: it is missing or damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise damaged(path, what, next_step) from error
    if not text.strip():
        raise damaged(path, what, next_step)
    return text


def read_numbers(path: Path, what: str, next_step: str) -> Mapping[str, int]:
    """Return the numbers by name that a JSON file holds.

    Raises:
        MachineCannot: it is missing or damaged.
    """
    try:
        found = json.loads(read_text(path, what, next_step))
    except ValueError as error:
        raise damaged(path, what, next_step) from error
    if not isinstance(found, dict) or not all(type(number) is int for number in found.values()):
        raise damaged(path, what, next_step)
    return found


def damaged(path: Path, what: str, next_step: str) -> MachineCannot:
    """The error for a file that is not what it should be."""
    return MachineCannot(f"{path}: expected {what}, found it missing or damaged", next_step=next_step)
