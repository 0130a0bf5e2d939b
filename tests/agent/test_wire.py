"""Readings survive the pipe, and nothing else gets through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.nvml_protocol import Answer, NoDriver, Question, read_answer, read_question, write_line
from agent.readings import Gpus, Processes, ProcessList, Unavailable, UnknownGpu
from agent.wire import NotAReading, decode, encode

LOST = Unavailable(reason="GPU_IS_LOST", function="nvmlDeviceGetUUID")

# JSON's text is UTF-8: it has no place for half a surrogate pair.
st.register_type_strategy(str, st.text(st.characters(codec="utf-8"), max_size=20))


@given(st.from_type(Answer))
def test_any_answer_comes_back(answer: Answer) -> None:
    assert read_answer(write_line(answer)) == answer


@given(st.from_type(NoDriver))
def test_any_refusal_comes_back(refusal: NoDriver) -> None:
    assert read_answer(write_line(refusal)) == refusal


def test_a_class_is_its_name_and_its_fields() -> None:
    assert encode(UnknownGpu(index=3, why=LOST)) == [
        "UnknownGpu",
        3,
        ["Unavailable", "GPU_IS_LOST", "nvmlDeviceGetUUID"],
    ]


@pytest.mark.parametrize(
    ("wanted", "data"),
    [
        (int, True),
        (bool, 1),
        (int, 1.0),
        (str, None),
        (int | None, "1"),
        (tuple[int, ...], {}),
        (tuple[int, ...], [1, "2"]),
        (Unavailable, ["Unavailable", "a"]),
        (Unavailable, ["Unavailable", "a", "b", "c"]),
        (Unavailable, ["ProcessList", []]),
        (ProcessList | Unavailable, ["Processes", []]),
        (Processes, []),
        (Gpus, None),
    ],
)
def test_what_is_not_of_its_type_is_refused(wanted: Any, data: object) -> None:
    with pytest.raises(NotAReading):
        decode(wanted, data)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\n",
        b"{}\n",
        b"[" * 100_000,
        b"[2,[]]\n",
        b"[1]\n",
        json.dumps([1, ["Question", 1, "anything", []]]).encode(),
        json.dumps([True, ["Question", 1, "gpus", []]]).encode(),
    ],
)
def test_a_line_that_is_no_question_is_refused(line: bytes) -> None:
    with pytest.raises(NotAReading):
        read_question(line)


def test_a_question_comes_back() -> None:
    question = Question(number=1, source="gpus")
    assert read_question(write_line(question)) == question


@given(st.binary(max_size=80))
def test_no_bytes_confuse_it(line: bytes) -> None:
    try:
        read_answer(line)
    except NotAReading:
        return
    raise AssertionError("random bytes were an answer")
