"""The device limit, run by a small interpreter of its program."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from provision.lab.devices import HARMLESS, DeviceNumber, device_program

MAKE, READ, WRITE = 1, 2, 4
BLOCK, CHARACTER = 1, 2
numbers = st.integers(min_value=0, max_value=300)
devices = st.builds(DeviceNumber, major=numbers, minor=st.none() | numbers)


def allows(program: bytes, *, kind: int, access: int, major: int, minor: int) -> bool:
    """Run eBPF on struct bpf_cgroup_dev_ctx."""
    context = struct.pack("<III", access << 16 | kind, major, minor)
    lines = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    registers, at = [0] * 10, 0
    while True:
        code, pair, offset, number = lines[at]
        target, source = pair & 15, pair >> 4
        at += 1
        match code:
            case 0x61:
                (registers[target],) = struct.unpack_from("<I", context, offset)
            case 0xBF:
                registers[target] = registers[source]
            case 0xB7:
                registers[target] = number
            case 0x57:
                registers[target] &= number
            case 0x77:
                registers[target] >>= number
            case 0x15:
                at += offset if registers[target] == number else 0
            case 0x55:
                at += offset if registers[target] != number else 0
            case 0x95:
                return registers[0] == 1
            case _:
                raise AssertionError(f"instruction {code:#x}")


@given(allowed=st.lists(devices, max_size=6), major=numbers, minor=numbers, access=st.sampled_from((READ, WRITE, 6)))
def test_exactly_the_named_character_devices_open(
    allowed: list[DeviceNumber], major: int, minor: int, access: int
) -> None:
    named = any(one.major == major and one.minor in (None, minor) for one in allowed)
    program = device_program(allowed)
    assert allows(program, kind=CHARACTER, access=access, major=major, minor=minor) == named
    assert not allows(program, kind=BLOCK, access=access, major=major, minor=minor)


@given(kind=st.sampled_from((BLOCK, CHARACTER)), major=numbers, minor=numbers)
def test_any_node_may_be_made_but_not_in_one_go_with_opening(kind: int, major: int, minor: int) -> None:
    assert allows(device_program(()), kind=kind, access=MAKE, major=major, minor=minor)
    assert not allows(device_program(()), kind=kind, access=MAKE | READ, major=major, minor=minor)


def test_memory_and_kernel_log_are_not_harmless() -> None:
    program = device_program(HARMLESS)
    for minor in (1, 2, 4, 11):
        assert not allows(program, kind=CHARACTER, access=READ, major=1, minor=minor)
