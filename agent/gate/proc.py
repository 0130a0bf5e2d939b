"""What /proc tells of one process: whether it stands, since when it lives, which devices it has open or mapped.

A process may go at any moment; then the answer is that of a process that has nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.gate.device import DeviceRange

PROC = Path("/proc")
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
STANDING = "tT"  # stopped by a signal, or by a tracer that was told of it; proc(5), state

GONE = (FileNotFoundError, ProcessLookupError)


def in_initial_namespace() -> bool:
    """Whether we see every process by the number the kernel's events give it."""
    return Path("/proc/self/ns/pid").stat().st_ino == 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h


def stands(pid: int, tid: int) -> bool:
    """Whether a thread is stopped, or gone: it executes nothing at the moment."""
    fields = _stat(PROC / str(pid) / "task" / str(tid))
    return not fields or fields[0] in STANDING or fields[0] in "XZ"


def started_ns(pid: int) -> int | None:
    """When a process began, of CLOCK_BOOTTIME, to the tick below; None if it is gone."""
    fields = _stat(PROC / str(pid))
    return int(fields[19]) * TICK_NS if fields else None


def descriptors(pid: int, devices: Iterable[DeviceRange]) -> tuple[int, ...]:
    """Give the descriptors of a process that are open on one of the devices; O_PATH ones reach no driver."""
    wanted = tuple(devices)
    return tuple(
        sorted(
            int(entry.name)
            for entry in _list(PROC / str(pid) / "fd")
            if _is_device(entry, wanted) and not _is_path_only(pid, entry.name)
        )
    )


def mappings(pid: int, devices: Iterable[DeviceRange]) -> tuple[int, ...]:
    """Give the first addresses at which a process has mapped one of the devices; a mapping outlives its descriptor.

    /proc/PID/maps names a file by its file system, which tells nothing of a device; map_files leads to it.
    """
    wanted = tuple(devices)
    folder = PROC / str(pid) / "map_files"
    return tuple(start for start, end in _file_mappings(pid) if _is_device(folder / f"{start:x}-{end:x}", wanted))


def _file_mappings(pid: int) -> Iterator[tuple[int, int]]:
    """Give the range of one mapping of each mapped file."""
    try:
        lines = (PROC / str(pid) / "maps").read_text(errors="replace").splitlines()
    except GONE:
        return
    seen = set()
    for addresses, _, _, device, inode, *_ in map(str.split, lines):
        if inode != "0" and (device, inode) not in seen:
            seen.add((device, inode))
            start, end = addresses.split("-")
            yield int(start, 16), int(end, 16)


def _is_device(path: os.DirEntry[str] | Path, devices: tuple[DeviceRange, ...]) -> bool:
    try:
        found = path.stat()
    except GONE:
        return False
    number = os.major(found.st_rdev), os.minor(found.st_rdev)
    return stat.S_ISCHR(found.st_mode) and any(number in device for device in devices)


def _is_path_only(pid: int, descriptor: str) -> bool:
    try:
        text = (PROC / str(pid) / "fdinfo" / descriptor).read_text()
    except GONE:
        return True
    (flags,) = (line.split()[1] for line in text.splitlines() if line.startswith("flags:"))
    return bool(int(flags, 8) & os.O_PATH)


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except GONE:
        return []


def _stat(folder: Path) -> list[str]:
    """Give the fields of proc_pid_stat(5) from the third on; a name in the second may hold blanks and brackets."""
    try:
        return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except GONE:
        return []
