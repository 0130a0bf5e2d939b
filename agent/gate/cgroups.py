"""A control group's path, its id and its level, of the version 2 hierarchy. The id is the inode of its directory.

The kernel knows groups by id (bpf_get_current_cgroup_id); people and container engines know them by path.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from agent.errors import InvalidSetting

FILEID_KERNFS = 0xFE  # include/linux/exportfs.h: a handle that is nothing but the inode's number

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """A group: the root has level 0."""

    id: int
    level: int
    path: Path


class _Handle(ctypes.Structure):
    """`struct file_handle` of eight bytes."""

    _fields_ = (("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("id", ctypes.c_ubyte * 8))


def find(path: Path, root: Path) -> Cgroup:
    """Give the group at a directory below `root`, or at a path as /proc/PID/cgroup writes it; raises InvalidSetting."""
    folder = path if path.is_relative_to(root) else root / path.relative_to(path.anchor)
    try:
        folder = folder.resolve(strict=True)
        if not (folder / "cgroup.procs").is_file():
            raise NotADirectoryError(f"{folder} is no group")
    except OSError as error:
        raise InvalidSetting(
            f"control group {path}: expected a directory below {root}, found {error}",
            next_step="see the third field of /proc/PID/cgroup in the line that begins with 0::",
        ) from error
    inside = folder.relative_to(root.resolve())
    return Cgroup(id=folder.stat().st_ino, level=len(inside.parts), path=Path("/", inside))


def path_of(cgroup_id: int, root: int) -> Path | None:
    """Give the path of a group by its id, from a descriptor of the root; None if it is gone."""
    handle = _Handle(bytes=8, type=FILEID_KERNFS, id=(ctypes.c_ubyte * 8)(*cgroup_id.to_bytes(8, "little")))
    folder = _libc.open_by_handle_at(root, ctypes.byref(handle), os.O_PATH | os.O_CLOEXEC)
    if folder < 0:
        if (number := ctypes.get_errno()) == errno.ESTALE:
            return None
        raise OSError(number, f"control group {cgroup_id}: {os.strerror(number)}")
    try:
        top, found = (Path(f"/proc/self/fd/{fd}").readlink() for fd in (root, folder))
        return Path("/", found.relative_to(top))
    finally:
        os.close(folder)
