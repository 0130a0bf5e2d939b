"""The only place with the bpf(2) system call: maps, programs, links and pins as thin typed functions over descriptors.

It decides nothing and catches nothing: what the kernel refuses is an OSError, or ProgramRefused with the verifier's
words. Attribute layouts are those of union bpf_attr, include/uapi/linux/bpf.h; fields left out are zero.
"""

from __future__ import annotations

import ctypes
import enum
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SYSCALL = 321  # x86-64, arch/x86/entry/syscalls/syscall_64.tbl
LICENCE = b"GPL"  # several helpers of the gate are for GPL programs only
LOG_BYTES = 1 << 20
NAME_BYTES = 15  # BPF_OBJ_NAME_LEN less its zero

_libc = ctypes.CDLL(None, use_errno=True)


class _Command(enum.IntEnum):
    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_GET_FD_BY_ID = 13
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    LINK_CREATE = 28
    LINK_DETACH = 34


class MapType(enum.IntEnum):
    """BPF_MAP_TYPE_*."""

    HASH = 1
    ARRAY = 2
    LRU_HASH = 9
    RINGBUF = 27


PROGRAMS_MAX = 64  # BPF_CGROUP_MAX_PROGS: a group takes no more
CGROUP_DEVICE_PROGRAM = 15  # BPF_PROG_TYPE_CGROUP_DEVICE
CGROUP_DEVICE_ATTACH = 6  # BPF_CGROUP_DEVICE


class ProgramRefused(Exception):
    """The verifier refused a program; `log` holds its reasons."""

    def __init__(self, error: OSError, log: str) -> None:
        super().__init__(f"{error.strerror}: {log[-2000:].strip()}")
        self.errno = error.errno
        self.log = log


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInfo:
    """What the kernel says of a map."""

    type: int
    key_bytes: int
    value_bytes: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramInfo:
    """What the kernel says of a program; the tag is a hash of its instructions."""

    id: int
    tag: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """What the kernel says of a link; the group's id is 0 when the link no longer holds its program there."""

    id: int
    program_id: int
    cgroup_id: int


def create_map(kind: MapType, name: str, *, key_bytes: int, value_bytes: int, entries: int) -> int:
    """Make a map and give its descriptor."""
    attributes = struct.pack("<IIIIIII16s", kind, key_bytes, value_bytes, entries, 0, 0, 0, name.encode()[:NAME_BYTES])
    return _bpf(_Command.MAP_CREATE, attributes)


def lookup(fd: int, key: bytes, value_bytes: int) -> bytes | None:
    """Give the value under a key, or None."""
    value = ctypes.create_string_buffer(value_bytes)
    try:
        _bpf_element(_Command.MAP_LOOKUP_ELEM, fd, key, value)
    except FileNotFoundError:
        return None
    return value.raw


def update(fd: int, key: bytes, value: bytes) -> None:
    """Set the value under a key."""
    _bpf_element(_Command.MAP_UPDATE_ELEM, fd, key, ctypes.create_string_buffer(value, len(value)))


def delete(fd: int, key: bytes) -> bool:
    """Remove a key; false if it was not there."""
    try:
        _bpf_element(_Command.MAP_DELETE_ELEM, fd, key, None)
    except FileNotFoundError:
        return False
    return True


def keys(fd: int, key_bytes: int) -> Iterator[bytes]:
    """Give a hash map's keys. After one that went meanwhile the kernel begins anew: a key may come twice, or be missed.

    Under a flood of changes that could go on for ever; so it ends after as many as the map has room for.
    """
    at: bytes | None = None
    following = ctypes.create_string_buffer(key_bytes)
    for _ in range(map_info(fd).entries):
        try:
            _bpf_element(_Command.MAP_GET_NEXT_KEY, fd, at, following)
        except FileNotFoundError:
            return
        at = following.raw
        yield at


def load_program(instructions: bytes, name: str) -> int:
    """Load a program of cgroup devices and give its descriptor; raises ProgramRefused with the verifier's log."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    try:
        return _load(code, name, None)
    except OSError as error:
        refusal = error
    log = ctypes.create_string_buffer(LOG_BYTES)
    try:  # the log costs time, so it is asked for when there is something to read
        return _load(code, name, log)
    except OSError:
        raise ProgramRefused(refusal, log.value.decode(errors="replace")) from refusal


def attach(program: int, cgroup: int) -> int:
    """Attach a program to a group, beside those of others, and give the link: closed and unpinned, it detaches."""
    return _bpf(_Command.LINK_CREATE, struct.pack("<IIII", program, cgroup, CGROUP_DEVICE_ATTACH, 0))


def detach(link: int) -> None:
    """Take a link's program off its group, whoever else holds the link."""
    _bpf(_Command.LINK_DETACH, struct.pack("<I", link))


def pin(fd: int, path: Path) -> None:
    """Give an object a name in a bpf file system: it then lives without its maker."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    _bpf(_Command.OBJ_PIN, struct.pack("<QI", ctypes.addressof(name), fd))


def open_pinned(path: Path) -> int:
    """Give a descriptor of a pinned object; raises FileNotFoundError."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return _bpf(_Command.OBJ_GET, struct.pack("<QII", ctypes.addressof(name), 0, 0))


def map_info(fd: int) -> MapInfo:
    """Say what a map is: struct bpf_map_info."""
    kind, _, key_bytes, value_bytes, entries = struct.unpack_from("<IIIII", _info(fd, 80))
    return MapInfo(type=kind, key_bytes=key_bytes, value_bytes=value_bytes, entries=entries)


def program_info(number: int) -> ProgramInfo:
    """Say what the program of an id is: struct bpf_prog_info."""
    fd = _bpf(_Command.PROG_GET_FD_BY_ID, struct.pack("<III", number, 0, 0))
    try:
        raw = _info(fd, 80)
    finally:
        os.close(fd)
    return ProgramInfo(id=number, tag=raw[8:16].hex(), name=raw[64:80].split(b"\0", 1)[0].decode())


def link_info(fd: int) -> LinkInfo:
    """Say what a link of a group holds where: struct bpf_link_info."""
    _, number, program_id, _, cgroup_id = struct.unpack_from("<IIIIQ", _info(fd, 32))
    return LinkInfo(id=number, program_id=program_id, cgroup_id=cgroup_id)


def attached_programs(cgroup: int) -> tuple[int, ...]:
    """Give the ids of the device programs that are attached to a group itself."""
    ids = (ctypes.c_uint32 * PROGRAMS_MAX)()
    asked = struct.pack("<IIIIQIIQ", cgroup, CGROUP_DEVICE_ATTACH, 0, 0, ctypes.addressof(ids), len(ids), 0, 0)
    answer = ctypes.create_string_buffer(asked, len(asked))
    _call(_Command.PROG_QUERY, answer)
    return tuple(ids[: struct.unpack_from("<I", answer, 24)[0]])


def _load(code: ctypes.Array[ctypes.c_char], name: str, log: ctypes.Array[ctypes.c_char] | None) -> int:
    licence = ctypes.create_string_buffer(LICENCE)
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        CGROUP_DEVICE_PROGRAM,
        len(code) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        *((1, len(log), ctypes.addressof(log)) if log is not None else (0, 0, 0)),
        0,
        0,
        name.encode()[:NAME_BYTES],
        0,
        CGROUP_DEVICE_ATTACH,  # without it bpf_get_retval is refused: cgroup_common_func_proto, kernel/bpf/cgroup.c
    )
    return _bpf(_Command.PROG_LOAD, attributes)


def _info(fd: int, size: int) -> bytes:
    info = ctypes.create_string_buffer(size)
    _bpf(_Command.OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, size, ctypes.addressof(info)))
    return info.raw


def _bpf_element(command: _Command, fd: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None) -> None:
    held = None if key is None else ctypes.create_string_buffer(key, len(key))
    key_at = 0 if held is None else ctypes.addressof(held)
    value_at = 0 if value is None else ctypes.addressof(value)
    _bpf(command, struct.pack("<IIQQQ", fd, 0, key_at, value_at, 0))


def _bpf(command: _Command, attributes: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(attributes, len(attributes)))


def _call(command: _Command, buffer: ctypes.Array[ctypes.c_char]) -> int:
    result: int = _libc.syscall(SYSCALL, int(command), buffer, len(buffer))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf(2) {command.name}: {os.strerror(number)}")
    return result
