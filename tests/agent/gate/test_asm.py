"""Encodings, against bytes written by hand from the instruction set's page and from what other assemblers give."""

import pytest

from agent.gate.asm import Arithmetic, Assembler, Condition, Register, Size, encode

R0, R1, R2, R3, R10 = Register.R0, Register.R1, Register.R2, Register.R3, Register.R10


def assembled(*calls: tuple[str, *tuple[object, ...]]) -> str:
    assembler = Assembler()
    for name, *arguments in calls:
        getattr(assembler, name)(*arguments)
    return encode(assembler.assemble()).hex(" ", 8)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("move", R0, 1), "b700000001000000"),
        (("move", R1, R10), "bfa1000000000000"),
        (("compute", Arithmetic.ADD, R2, -8), "07020000f8ffffff"),
        (("compute", Arithmetic.SUBTRACT, R3, R2), "1f23000000000000"),
        (("compute", Arithmetic.AND, R1, 0xFFFF), "57010000ffff0000"),
        (("compute", Arithmetic.SHIFT_RIGHT, R0, 32), "7700000020000000"),
        (("load", Size.WORD, R2, R1, 4), "6112040000000000"),
        (("load", Size.DOUBLE, R1, R1), "7911000000000000"),
        (("store", Size.WORD, R10, -4, R0), "630afcff00000000"),
        (("store", Size.DOUBLE, R10, -16, R1), "7b1af0ff00000000"),
        (("store", Size.DOUBLE, R10, -16, 7), "7a0af0ff07000000"),
        (("fetch_add", R1, 8, R2), "db21080001000000"),
        (("map", R1, 5), "1811000005000000 0000000000000000"),
        (("map_value", R1, 5, 24), "1821000005000000 0000000018000000"),
        (("call", 14), "850000000e000000"),
        (("exit",), "9500000000000000"),
    ],
)
def test_an_instruction_is_encoded(call: tuple[str, *tuple[object, ...]], expected: str) -> None:
    assert assembled(call) == expected


@pytest.mark.parametrize(
    ("condition", "right", "code"),
    [
        (Condition.EQUAL, 3, "15"),
        (Condition.GREATER, R2, "2d"),
        (Condition.AT_LEAST, R2, "3d"),
        (Condition.NOT_EQUAL, 0, "55"),
        (Condition.LESS, 9, "a5"),
        (Condition.AT_MOST, R2, "bd"),
    ],
)
def test_jumps_count_from_the_slot_after_them(condition: Condition, right: int, code: str) -> None:
    there = assembled(
        ("jump_if", condition, R1, right, "end"), ("map", R1, 5), ("jump", "end"), ("label", "end"), ("exit",)
    ).split()
    assert there[0].startswith(code)
    assert [slot[4:8] for slot in (there[0], there[3])] == ["0300", "0000"]


def test_jumps_may_go_back() -> None:
    there = assembled(("label", "again"), ("call", 1), ("jump", "again")).split()
    assert there[1] == "0500feff00000000"


def test_labels_are_unique_and_known() -> None:
    with pytest.raises(ValueError, match="found twice"):
        assembled(("label", "a"), ("label", "a"))
    with pytest.raises(ValueError, match="found none"):
        assembled(("jump", "nowhere"))


def test_a_number_must_fit() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        assembled(("move", R0, 1 << 31))
