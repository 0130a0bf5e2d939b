"""Where fields lie in the running kernel's own structures: from BTF, the types that it was built with.

Format: Documentation/bpf/btf.rst. Only what is needed to find a plain member of a structure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")
MAGIC = 0xEB9F
STRUCT = 4
# Bytes after a type's three words: fixed, and for each of its members, by kind (BTF_KIND_INT is 1, BTF_KIND_ENUM64 19).
_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
LAST_KIND = 19


def running_kernel() -> bytes:
    """Read the running kernel's types; empty where it was built without."""
    return VMLINUX.read_bytes() if VMLINUX.exists() else b""


def offsets(raw: bytes, structure: str, members: Iterable[str]) -> tuple[int, ...] | None:
    """Give the byte offsets of a structure's own members, or None if one of them is not to be found."""
    wanted = tuple(members)
    try:
        magic, _, _, header, types, types_bytes, strings, _ = _HEADER.unpack_from(raw)
        names = header + strings
        found = _members(raw, header + types, types_bytes, names, _string(raw, names, structure))
    except (struct.error, ValueError):  # cut short: it ends within a type, or within a name
        return None
    if magic != MAGIC:
        return None
    return tuple(found[name] for name in wanted) if all(name in found for name in wanted) else None


def _members(raw: bytes, at: int, size: int, names: int, structure: int) -> dict[str, int]:
    """Give the members of the structure of that name; types follow one another without an index."""
    end = at + size
    while at < end:
        name, info, _ = _TYPE.unpack_from(raw, at)
        kind, count = info >> 24 & 0x1F, info & 0xFFFF
        at += _TYPE.size
        if kind == STRUCT and name == structure and count:
            return {_name(raw, names + text): bits // 8 for text, _, bits in _fields(raw, at, count, flag=info >> 31)}
        if kind > LAST_KIND:  # of a kernel to come: how long it is nobody knows
            return {}
        at += _FIXED.get(kind, 0) + _EACH.get(kind, 0) * count
    return {}


def _fields(raw: bytes, at: int, count: int, *, flag: int) -> Iterable[tuple[int, int, int]]:
    """Give name, type and place in bits of each member; with the flag the place shares its word with a width."""
    for index in range(count):
        name, kind, place = _MEMBER.unpack_from(raw, at + index * _MEMBER.size)
        yield name, kind, place & 0xFFFFFF if flag else place


def _string(raw: bytes, names: int, text: str) -> int:
    """Give the offset of a name in the strings; 0, which is no name, if it is not there."""
    found = raw.find(b"\0" + text.encode() + b"\0", names)
    return found + 1 - names if found >= 0 else 0


def _name(raw: bytes, at: int) -> str:
    return raw[at : raw.index(b"\0", at)].decode()
