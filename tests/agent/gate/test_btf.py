"""Offsets from a kernel's types: of a small made-up kernel, of garbage, and of the one that runs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gate import btf


def made(*types: bytes, names: bytes = b"\0task_struct\0pid\0comm\0int\0") -> bytes:
    body = b"".join(types)
    return struct.pack("<HBBIIIII", btf.MAGIC, 1, 0, 24, 0, len(body), len(body), len(names)) + body + names


INT = struct.pack("<IIII", 22, 1 << 24, 4, 32)
FUNCTION = struct.pack("<III", 0, 13 << 24 | 2, 0) + bytes(16)
FORWARD = struct.pack("<III", 1, 7 << 24, 0)
EMPTY = struct.pack("<III", 1, 4 << 24, 0)
TASK = struct.pack("<III", 1, 4 << 24 | 2, 64) + struct.pack("<IIIIII", 13, 1, 32, 17, 1, 256)
FIELDS = struct.pack("<III", 1, 1 << 31 | 4 << 24 | 1, 64) + struct.pack("<III", 13, 1, 8 << 24 | 64)
FUTURE = struct.pack("<III", 0, 31 << 24, 0)


@pytest.mark.parametrize(
    ("types", "members", "expected"),
    [
        ((INT, FUNCTION, FORWARD, EMPTY, TASK), ("comm", "pid"), (32, 4)),
        ((INT, FIELDS), ("pid",), (8,)),
        ((INT, TASK), ("pid", "tgid"), None),
        ((INT,), ("pid",), None),
        ((FUTURE, TASK), ("pid",), None),
    ],
)
def test_members_are_found(
    types: tuple[bytes, ...], members: tuple[str, ...], expected: tuple[int, ...] | None
) -> None:
    assert btf.offsets(made(*types), "task_struct", members) == expected


@given(st.binary(max_size=60))
def test_what_is_no_btf_has_no_offsets(raw: bytes) -> None:
    assert btf.offsets(raw, "task_struct", ("pid",)) is None


@given(st.integers(0, len(made(INT, FUNCTION, TASK)) - 1))
def test_what_is_cut_short_has_the_right_offset_or_none(length: int) -> None:
    assert btf.offsets(made(INT, FUNCTION, TASK)[:length], "task_struct", ("pid",)) in (None, (4,))


def test_the_running_kernel_has_a_task() -> None:
    if not (raw := btf.running_kernel()):
        pytest.skip("the kernel tells no types (BTF)")
    found = btf.offsets(raw, "task_struct", ("group_leader", "start_boottime"))
    assert found is not None
    assert all(0 < offset < 1 << 15 and offset % 8 == 0 for offset in found)
