"""The system calls a lab host's launcher needs and Python's library lacks: namespaces, mounts, loop devices, a filter.

Knows nothing of labs. Each failure is an OSError that names what was tried.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_NOATIME = 0x400
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

LOOP_CONFIGURE = 0x4C0A
LOOP_CTL_GET_FREE = 0x4C82
LO_FLAGS_AUTOCLEAR = 4
LOOP_MAJOR = 7
LOOP_ATTEMPTS = 50

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_ALLOW = 0x7FFF0000
SECCOMP_ERRNO = 0x00050000
AF_VSOCK = 40

# Machine → (audit architecture, numbers of keyctl, add_key, request_key; of open_by_handle_at, swapon, swapoff,
# kexec_load, kexec_file_load; of socket)
ARCHITECTURES = {
    "x86_64": (0xC000003E, (250, 248, 249), (304, 167, 168, 246, 320), 41),
    "aarch64": (0xC00000B7, (219, 217, 218), (265, 224, 225, 104, 294), 198),
}
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
X32_BIT = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` name for new ones."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount `source` on `target`."""
    arguments = [word.encode() or None for word in (source, str(target), kind)]
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None), f"mount {source} on {target}")


def detach(target: Path) -> None:
    """Take a mount out of this namespace, whatever still uses it."""
    _check(_libc.umount2(str(target).encode(), MNT_DETACH), f"detach {target}")


def attach_loop(backing: Path) -> tuple[str, int]:
    """Attach a file to a free loop device that frees itself after its last use.

    Returns the device and an open descriptor of it: whoever closes that without having mounted the device loses it.
    """
    with backing.open("r+b") as file:
        config = struct.pack(
            "<IIQQQQQIIII64s64s32s2Q8Q",
            file.fileno(),
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            LO_FLAGS_AUTOCLEAR,
            *(b"",) * 3,
            *(0,) * 10,
        )
        for _ in range(LOOP_ATTEMPTS):
            device = _free_loop()
            descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(descriptor, LOOP_CONFIGURE, config)
                return device, descriptor
            except OSError as error:
                os.close(descriptor)
                if error.errno != errno.EBUSY:
                    raise
    raise OSError(errno.EBUSY, f"no loop device could be had for {backing} in {LOOP_ATTEMPTS} attempts")


def spare_watchers(wanted: int) -> int:
    """Say how many of `wanted` inotify instances this user can still have, by having them for a moment."""
    got: list[int] = []
    while len(got) < wanted and (descriptor := _libc.inotify_init1(os.O_CLOEXEC)) >= 0:
        got.append(descriptor)
    for descriptor in got:
        os.close(descriptor)
    return len(got)


def forbid_what_no_host_needs(machine: str) -> None:
    """Refuse, to this process and all it starts, system calls that reach the machine rather than the host.

    Kernel keys (the user's keyring knows no namespace), file handles, swap, kexec and sockets to the hypervisor.
    """
    program = seccomp_program(machine)
    buffer = ctypes.create_string_buffer(program)
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(head), 0, 0), "seccomp")


def seccomp_program(machine: str) -> bytes:
    """Give the classic-BPF program of the filter; raises OSError for an architecture that it does not know."""
    if machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no system-call filter for {machine}: expected one of {', '.join(ARCHITECTURES)}")
    audit, keys, handles, socket = ARCHITECTURES[machine]
    lines = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, audit), _refuse(errno.ENOSYS), (LOAD, 0, 0, 0)]
    if machine == "x86_64":
        lines += [(AT_LEAST, 0, 1, X32_BIT), _refuse(errno.ENOSYS)]
    for numbers, code in ((keys, errno.ENOSYS), (handles, errno.EPERM)):
        for number in numbers:
            lines += [(EQUAL, 0, 1, number), _refuse(code)]
    lines += [(EQUAL, 0, 3, socket), (LOAD, 0, 0, 16), (EQUAL, 0, 1, AF_VSOCK), _refuse(errno.EAFNOSUPPORT)]
    lines.append((RETURN, 0, 0, SECCOMP_ALLOW))
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _refuse(code: int) -> tuple[int, int, int, int]:
    return (RETURN, 0, 0, SECCOMP_ERRNO | code)


def _free_loop() -> str:
    """Ask for a free loop device; its node is made where the machine's /dev does not make nodes by itself."""
    with open("/dev/loop-control", "rb") as control:  # noqa: PTH123 (a device)
        number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
    node = f"/dev/loop{number}"
    if not os.path.exists(node):  # noqa: PTH110
        os.mknod(node, 0o600 | stat.S_IFBLK, os.makedev(LOOP_MAJOR, number))
    return node


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
