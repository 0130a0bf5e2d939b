"""Lets the processes of a control group open only the devices that are named: the others are as if they had no driver.

A node of any device may still be made, as container engines do; opening it fails with EPERM. The limit is a BPF
program at the version 2 group, which no process inside can take off, and which goes when the group goes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
PROGRAM_TYPE_CGROUP_DEVICE = 15
ATTACH_CGROUP_DEVICE = 6
ALLOW_MULTI = 2
ATTRIBUTES_BYTES = 128

LOAD_WORD, MOVE, MOVE_NUMBER, AND_NUMBER, SHIFT_RIGHT, JUMP_EQUAL, JUMP_UNEQUAL, EXIT = (
    *(0x61, 0xBF, 0xB7, 0x57),
    *(0x77, 0x15, 0x55, 0x95),
)
RESULT, CONTEXT, KIND, ACCESS, MAJOR, MINOR = range(6)
CHARACTER_DEVICE = 2
MAKE_NODE = 1

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DeviceNumber:
    """Major and minor of a character device; without a minor, all of the major."""

    major: int
    minor: int | None = None


# Null, zero, full, random, urandom; terminals; tun and fuse: what every host may open beside its GPUs.
HARMLESS = (
    *(DeviceNumber(major=1, minor=minor) for minor in (3, 5, 7, 8, 9)),
    *(DeviceNumber(major=5, minor=minor) for minor in (0, 1, 2)),
    DeviceNumber(major=136),
    *(DeviceNumber(major=10, minor=minor) for minor in (200, 229)),
)


def limit_devices(group: Path, allowed: Iterable[DeviceNumber]) -> None:
    """Limit the version 2 group at `group` and all below it; raises OSError where BPF is not to be had."""
    program = device_program(allowed)
    instructions = ctypes.create_string_buffer(program)
    licence = ctypes.create_string_buffer(b"GPL")
    load = struct.pack(
        "<IIQQ",
        PROGRAM_TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
    )
    loaded = _bpf(BPF_PROG_LOAD, load, "load the device limit")
    folder = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        attach = struct.pack("<IIII", folder, loaded, ATTACH_CGROUP_DEVICE, ALLOW_MULTI)
        _bpf(BPF_PROG_ATTACH, attach, f"attach the device limit to {group}")
    finally:
        os.close(folder)
        os.close(loaded)


def device_program(allowed: Iterable[DeviceNumber]) -> bytes:
    """Give the BPF program that returns 1 for making any node and for opening an allowed device, else 0."""
    lines = [
        _line(LOAD_WORD, KIND, CONTEXT),
        _line(MOVE, ACCESS, KIND),
        _line(AND_NUMBER, KIND, number=0xFFFF),
        _line(SHIFT_RIGHT, ACCESS, number=16),
        _line(LOAD_WORD, MAJOR, CONTEXT, offset=4),
        _line(LOAD_WORD, MINOR, CONTEXT, offset=8),
        *_allow_if(_line(JUMP_UNEQUAL, ACCESS, offset=2, number=MAKE_NODE)),
        _line(JUMP_EQUAL, KIND, offset=2, number=CHARACTER_DEVICE),
        *_end(0),
    ]
    for device in allowed:
        if device.minor is None:
            lines += _allow_if(_line(JUMP_UNEQUAL, MAJOR, offset=2, number=device.major))
        else:
            lines.append(_line(JUMP_UNEQUAL, MAJOR, offset=3, number=device.major))
            lines += _allow_if(_line(JUMP_UNEQUAL, MINOR, offset=2, number=device.minor))
    return b"".join((*lines, *_end(0)))


def _allow_if(test: bytes) -> tuple[bytes, ...]:
    return (test, *_end(1))


def _end(result: int) -> tuple[bytes, bytes]:
    return (_line(MOVE_NUMBER, RESULT, number=result), _line(EXIT))


def _line(code: int, target: int = 0, source: int = 0, *, offset: int = 0, number: int = 0) -> bytes:
    return struct.pack("<BBhi", code, target | source << 4, offset, number)


def _bpf(command: int, attributes: bytes, what: str) -> int:
    buffer = ctypes.create_string_buffer(attributes, ATTRIBUTES_BYTES)
    number = ctypes.c_long(BPF_SYSCALL[platform.machine()])
    result: int = _libc.syscall(number, command, buffer, ATTRIBUTES_BYTES)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
