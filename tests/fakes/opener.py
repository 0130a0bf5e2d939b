"""A process that enters a control group and opens a device in one of the ways there are; standard library only.

`python opener.py CGROUP NODE WAY [ARGUMENT]` prints one JSON object a line on what it met.
"""

import contextlib
import ctypes
import json
import mmap
import os
import signal
import stat
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

CLONE_FILES, CLONE_NEWNS, SIGCHLD = 0x400, 0x20000, 17
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
SYS_CLONE, SYS_IO_URING_SETUP, SYS_IO_URING_ENTER = 56, 425, 426
IORING_OP_OPENAT, IOSQE_ASYNC, AT_FDCWD = 18, 1 << 4, -100
IORING_OFF_CQ_RING, IORING_OFF_SQES, IORING_ENTER_GETEVENTS = 0x8000000, 0x10000000, 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc_with_gil = ctypes.PyDLL(None, use_errno=True)


def say(**what: object) -> None:
    sys.stdout.write(json.dumps({"pid": os.getpid(), **what}) + "\n")
    sys.stdout.flush()


def attempt(node: str | Path) -> int:
    """Open; give the descriptor, or the error as a negative number."""
    try:
        return os.open(node, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        return -(error.errno or 0)


def mine(node: str) -> list[int]:
    """Give my descriptors of the node's device."""
    number = Path(node).stat().st_rdev
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that by which this folder is read is closed by now
            if os.fstat(int(link.name)).st_rdev == number:
                found.append(int(link.name))
    return found


def once(node: str) -> None:
    say(got=attempt(node))


def keep(node: str) -> None:
    """Open, tell, and stay until standard input ends."""
    say(got=attempt(node))
    sys.stdin.read()
    say(left=mine(node))


def close(node: str) -> None:
    """Open and close, then stay."""
    if (got := attempt(node)) >= 0:
        os.close(got)
    say(got=got)
    sys.stdin.read()


def access(node: str) -> None:
    """Ask whether one could: the kernel asks the gate, and nothing is opened."""
    say(could=os.access(node, os.R_OK | os.W_OK))
    sys.stdin.read()


def resist(node: str) -> None:
    """Open and close while an accomplice undoes every stop."""
    if not (accomplice := os.fork()):
        parent = os.getppid()
        while os.getppid() == parent:
            os.kill(parent, signal.SIGCONT)
    got = attempt(node)
    os.close(got)
    say(got=got)
    sys.stdin.read()
    os.kill(accomplice, signal.SIGKILL)


def forks(node: str, count: str) -> None:
    """Let children open the node and end at once, as fast as they can be made."""
    opened = 0
    for _ in range(int(count)):
        if not (child := os.fork()):
            os._exit(0 if attempt(node) >= 0 else 1)
        opened += os.waitpid(child, 0)[1] == 0
    say(opened=opened)


def flood(node: str, count: str) -> None:
    """Open and close again and again."""
    opened = 0
    for _ in range(int(count)):
        if (got := attempt(node)) >= 0:
            opened += 1
            os.close(got)
    say(opened=opened)


def thread(node: str) -> None:
    """Open in a thread that is not the first."""
    other = threading.Thread(target=lambda: say(got=attempt(node)))
    other.start()
    other.join()
    say(left=mine(node))


def threads(node: str, count: str) -> None:
    """Open in many threads at once."""
    got: list[int] = []
    others = [threading.Thread(target=lambda: got.append(attempt(node))) for _ in range(int(count))]
    for other in others:
        other.start()
    for other in others:
        other.join()
    say(opened=sum(one >= 0 for one in got))


def sibling(node: str) -> None:
    """Let a process open that shares our table of descriptors, and see what it leaves us."""
    child = _libc_with_gil.syscall(SYS_CLONE, CLONE_FILES | SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0 if attempt(node) >= 0 else 1)
    status = os.waitpid(child, 0)[1]
    say(child=child, status=os.waitstatus_to_exitcode(status), left=mine(node))


def alias(node: str, folder: str) -> None:
    """Make a node of our own for the same device, under another name, and open that."""
    other = Path(folder, "innocent")
    try:
        os.mknod(other, 0o600 | stat.S_IFCHR, Path(node).stat().st_rdev)
    except PermissionError as error:
        say(made=-(error.errno or 0))
    else:
        say(made=0, got=attempt(other))


def bind(node: str, folder: str) -> None:
    """Open the node in a mount namespace of our own, where it is mounted over a file."""
    if _libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", "/", MS_REC | MS_PRIVATE)
    other = Path(folder, "file")
    other.touch()
    _mount(node, str(other), MS_BIND)
    say(got=attempt(other))


def uring(node: str, how: str = "") -> None:
    """Open by io_uring: no system call that opens is made; `async` lets a worker thread of the kernel do it."""
    parameters = ctypes.create_string_buffer(120)
    ring = _libc.syscall(SYS_IO_URING_SETUP, 4, parameters)
    if ring < 0:
        say(unavailable=os.strerror(ctypes.get_errno()))
        return
    sq_entries, cq_entries = struct.unpack_from("<II", parameters, 0)
    sq_tail, sq_array, cq_entry = (struct.unpack_from("<I", parameters, at)[0] for at in (44, 64, 100))
    sq = mmap.mmap(ring, sq_array + 4 * sq_entries)
    cq = mmap.mmap(ring, cq_entry + 16 * cq_entries, offset=IORING_OFF_CQ_RING)
    sqes = mmap.mmap(ring, 64 * sq_entries, offset=IORING_OFF_SQES)
    path = ctypes.create_string_buffer(os.fsencode(node))
    flags = os.O_RDWR | os.O_NOCTTY
    struct.pack_into(
        "<BBHiQQII",
        sqes,
        0,
        IORING_OP_OPENAT,
        IOSQE_ASYNC if how else 0,
        0,
        AT_FDCWD,
        0,
        ctypes.addressof(path),
        0,
        flags,
    )
    struct.pack_into("<I", sq, sq_array, 0)
    struct.pack_into("<I", sq, sq_tail, 1)
    if _libc.syscall(SYS_IO_URING_ENTER, ring, 1, 1, IORING_ENTER_GETEVENTS, None, 0) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_enter")
    say(got=struct.unpack_from("<8xi", cq, cq_entry)[0])


def _mount(source: str, target: str, flags: int) -> None:
    if _libc.mount(source.encode(), target.encode(), None, flags, None):
        raise OSError(ctypes.get_errno(), f"mount {target}")


WAYS: dict[str, Callable[..., None]] = {
    way.__name__: way
    for way in (once, keep, close, resist, access, forks, flood, thread, threads, sibling, alias, bind, uring)
}

if __name__ == "__main__":
    cgroup, node, way, *arguments = sys.argv[1:]
    Path(cgroup, "cgroup.procs").write_text("0")
    WAYS[way](node, *arguments)
