"""Gives a lab host what is its own before it boots: a disk, a name, keys, settings. What it already has, it keeps.

Writes into the host's upper layer only, where the host itself would have written.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path

from provision.lab.devices import DeviceNumber
from provision.lab.keys import make_key_pair
from provision.lab.tool import run

DISK_BYTES = 24 * 2**30
TOOL_LIMIT_SECONDS = 60.0
TEMPLATES = Path(__file__).with_name("templates")
UNIT = "host-hardware.service"

# Kernel settings that belong to the machine and of which a host gets copies; those of its network are its own anyway.
SYSCTLS = (
    *(f"kernel/{name}" for name in ("kptr_restrict", "dmesg_restrict", "randomize_va_space", "perf_event_paranoid")),
    *(f"kernel/{name}" for name in ("unprivileged_bpf_disabled", "unprivileged_userns_clone", "yama/ptrace_scope")),
    *(f"kernel/{name}" for name in ("sysrq", "core_pattern", "core_uses_pid", "panic", "panic_on_oops", "printk")),
    *(f"kernel/{name}" for name in ("pid_max", "threads-max", "numa_balancing", "keys/maxkeys", "keys/maxbytes")),
    *(f"fs/{name}" for name in ("suid_dumpable", "protected_symlinks", "protected_hardlinks", "protected_fifos")),
    *(f"fs/{name}" for name in ("protected_regular", "file-max", "nr_open", "aio-max-nr")),
    *(f"fs/inotify/{name}" for name in ("max_user_instances", "max_user_watches")),
    *(f"vm/{name}" for name in ("max_map_count", "overcommit_memory", "swappiness", "mmap_min_addr")),
    *(f"vm/{name}" for name in ("dirty_ratio", "dirty_background_ratio")),
)


def make_disk(disk: Path) -> None:
    """Make a sparse ext4 disk; one whose making was cut short has another name and is made again."""
    if disk.exists():
        return
    partial = disk.with_suffix(".partial")
    with partial.open("wb") as file:
        file.truncate(DISK_BYTES)
    extended = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    run(
        ["mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=64", "-E", extended, partial],
        timeout_seconds=TOOL_LIMIT_SECONDS,
    )
    partial.rename(disk)


def write_identity(upper: Path, *, name: str, authorized_key: str) -> None:
    """Give the host its name, its machine-id, its SSH host key, and the key that opens it."""
    write(upper / "etc/hostname", f"{name}\n")
    if not (upper / "etc/machine-id").exists():
        write(upper / "etc/machine-id", f"{uuid.uuid4().hex}\n", mode=0o444)
    write(upper / "root/.ssh/authorized_keys", authorized_key, mode=0o600)
    (upper / "root").chmod(0o700)
    (upper / "root/.ssh").chmod(0o700)
    make_key_pair(upper / "etc/ssh/ssh_host_ed25519_key", name)


def write_network(upper: Path, *, hosts: str, package_proxy: str) -> None:
    """Tell the host the names it can resolve and where packages come from."""
    write(upper / "etc/hosts", hosts)
    # Look-ups fail at once instead of after a resolver's time-out: the machine's resolver is out of reach.
    write(upper / "etc/resolv.conf", "nameserver 127.0.0.1\n")
    write(upper / "etc/apt/apt.conf.d/99supplier", f'Acquire::http::Proxy "{package_proxy}";\n')


def write_hardware(upper: Path, devices: Mapping[str, DeviceNumber]) -> None:
    """Install the unit that makes, at each boot, what firmware and kernel give a physical host."""
    write(upper / "etc/host-gpus", "".join(f"{name} {one.major} {one.minor}\n" for name, one in devices.items()))
    write(upper / "etc/host-sysctls", "".join(f"{key}\n" for key in SYSCTLS))
    write(upper / "usr/local/lib/host-hardware.sh", (TEMPLATES / "hardware.sh").read_text())
    write(upper / "etc/systemd/system" / UNIT, (TEMPLATES / "hardware.service").read_text())
    link = upper / "etc/systemd/system/sysinit.target.wants" / UNIT
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(f"/etc/systemd/system/{UNIT}")


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file of the host, with the mode it is to have from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)
