"""What a booking says while it is being worked on, and the journal in which the workers' part of it is kept.

A phase is a word of the lifecycle ("match", "claim", "provision", …); a step is what one role does on one host. The
terminal shows both live; a pipe gets one line each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase of the lifecycle began (`detail` says of what), or ended (`done`)."""

    name: str
    detail: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStep:
    """What a role does on a host; `state` is start, changed, unchanged, would, done or failed."""

    host: str
    role: str
    step: str
    state: str


Progress = Phase | HostStep
Tell = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """One line of the journal, and the offset at which the next one starts, in bytes."""

    value: Mapping[str, object]
    next_offset: int


def read_journal(path: Path, offset: int = 0) -> Iterator[JournalLine]:
    """The whole lines of the journal from `offset` on; a line that is still being written is left for the next time."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            value = _parse(line)
            if value is not None:
                yield JournalLine(value=value, next_offset=offset)


def _parse(line: bytes) -> Mapping[str, object] | None:
    """A line torn by a crash, then followed by others, is skipped: the journal is a log, claims are in the ledger."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
