"""What the agent and its reading process say to each other: one question and one answer a line, JSON with a version.

The reading process keeps nothing: what has to be remembered from one reading to the next travels with the question, so
that it may be killed at any moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from agent.readings import Accounting, AccountingPast, Gpus, Processes, Unavailable, Utilisation, Whole
from agent.wire import NotAReading, decode, encode

VERSION = 1
LINE_LIMIT_BYTES = 16 * 1024 * 1024

Source = Literal["gpus", "processes", "utilisation", "accounting", "whole", "restore"]
SOURCES: tuple[str, ...] = get_args(Source)


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutGpu:
    """Which GPU is asked about, and what is remembered of it."""

    uuid: str
    since_us: int = 0
    past: AccountingPast | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to read; `gpus` asks about no GPU in particular."""

    number: int
    source: str
    about: tuple[AboutGpu, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The accounting mode is as it was found."""

    uuid: str


Value: TypeAlias = Processes | Utilisation | Accounting | Whole | Restored | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class OfGpu:
    """What was read of one GPU."""

    uuid: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was read, between two instants of CLOCK_BOOTTIME; `gpus` is None unless they were asked for."""

    number: int
    began_at_ns: int
    ended_at_ns: int
    gpus: Gpus | Unavailable | None
    values: tuple[OfGpu, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDriver:
    """Nothing can be read on this host: why, and what to do."""

    number: int
    why: str
    next_step: str


def write_line(message: Question | Answer | NoDriver) -> bytes:
    """Give the line that says it."""
    return json.dumps([VERSION, encode(message)], separators=(",", ":")).encode() + b"\n"


def read_question(line: bytes) -> Question:
    """Read a question.

    Raises:
        NotAReading: it is none, or of another version.
    """
    question: Question = decode(Question, _body(line))
    if question.source not in SOURCES:
        raise NotAReading(f"expected one of {', '.join(SOURCES)}, found {question.source!r:.80}")
    return question


def read_answer(line: bytes) -> Answer | NoDriver:
    """Read an answer.

    Raises:
        NotAReading: it is none, or of another version.
    """
    answer: Answer | NoDriver = decode(Answer | NoDriver, _body(line))
    return answer


def _body(line: bytes) -> Any:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotAReading(f"expected a line of JSON, found {line!r:.80}") from error
    if not isinstance(message, list) or len(message) != 2 or type(message[0]) is not int or message[0] != VERSION:
        raise NotAReading(f"expected a message of version {VERSION}, found {line!r:.80}")
    return message[1]
