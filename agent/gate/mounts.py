"""Where the kernel's two file systems are that the gate stands on: cgroup2 and bpf. What is not mounted, we mount.

Mounts of ours lie in RUN. They are made in the caller's mount namespace; a pin lives as long as its bpf file system.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

from agent.errors import GateUnavailable

MOUNTS = Path("/proc/self/mounts")
RUN = Path("/run/timelock")
ROOT_INODE = 1  # kernfs gives the root of a hierarchy number 1: kernfs_create_root, fs/kernfs/dir.c
NOSUID, NODEV, NOEXEC = 2, 4, 8  # MS_*, include/uapi/linux/mount.h

_libc = ctypes.CDLL(None, use_errno=True)


def cgroup_root() -> Path:
    """Give the root of the version 2 hierarchy, wherever it is mounted; raises GateUnavailable if we are not at it."""
    mounted = _mounted("cgroup2") or (_mount("cgroup2", RUN / "cgroup2"),)
    for path in mounted:
        if path.stat().st_ino == ROOT_INODE:
            return path
    raise GateUnavailable(
        f"cgroup2: expected the root of the hierarchy, found only parts of it at {', '.join(map(str, mounted))}",
        next_step="run the agent on the host itself, not in a container's cgroup namespace",
    )


def bpf_root() -> Path:
    """Give a bpf file system, for pins."""
    mounted = _mounted("bpf")
    return mounted[0] if mounted else _mount("bpf", RUN / "bpf")


def parse(mounts: str, kind: str) -> tuple[Path, ...]:
    """Give where file systems of a kind are mounted, in order; /proc escapes blanks as octal numbers."""
    rows = (line.split() for line in mounts.splitlines())
    return tuple(Path(re.sub(r"\\([0-7]{3})", lambda at: chr(int(at[1], 8)), row[1])) for row in rows if row[2] == kind)


def _mounted(kind: str) -> tuple[Path, ...]:
    return parse(MOUNTS.read_text(), kind)


def _mount(kind: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if _libc.mount(kind.encode(), os.fsencode(folder), kind.encode(), NOSUID | NODEV | NOEXEC, None):
        number = ctypes.get_errno()
        raise GateUnavailable(
            f"{kind}: expected to mount it at {folder}, found {os.strerror(number)}",
            next_step="run as root of the host, on a kernel with CONFIG_CGROUPS and CONFIG_BPF_SYSCALL",
        )
    return folder
