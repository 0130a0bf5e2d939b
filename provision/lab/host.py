"""One lab host: a container that boots a whole Debian, with a disk, an identity and GPUs of its own.

Seen from inside it is what a supplier's machine is. Nothing here waits for it to be ready: that is `lab`'s business.
"""

from __future__ import annotations

import os
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path

from provision.lab import detached
from provision.lab.cgroups import Group, hierarchies
from provision.lab.gpus import DeviceNumber, gpu_devices
from provision.lab.network import PROXY_PORT, Network, know_host
from provision.lab.tool import run

DISK_BYTES = 24 * 2**30
TOOL_TIMEOUT_SECONDS = 60.0
TEMPLATES = Path(__file__).with_name("templates")
UNIT = "host-hardware.service"

# Null, zero, full, random, urandom; terminals; tun and fuse. Any node may be made ("m"), which container engines do; only these open.
DEVICES = (
    *(
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:1 rwm",
        "c 5:2 rwm",
        "c 136:* rwm",
    ),
    *("c 10:200 rwm", "c 10:229 rwm", "c *:* m", "b *:* m"),
)
# Kernel settings that belong to the machine and of which a host gets copies; those of the network are its own anyway.
SYSCTLS = (
    *(
        f"kernel/{name}"
        for name in (
            "kptr_restrict",
            "dmesg_restrict",
            "randomize_va_space",
            "unprivileged_bpf_disabled",
            "perf_event_paranoid",
        )
    ),
    *(
        f"kernel/{name}"
        for name in (
            "yama/ptrace_scope",
            "sysrq",
            "core_pattern",
            "core_uses_pid",
            "panic",
            "panic_on_oops",
            "pid_max",
            "threads-max",
        )
    ),
    *(
        f"kernel/{name}"
        for name in (
            "kexec_load_disabled",
            "printk",
            "numa_balancing",
            "unprivileged_userns_clone",
            "keys/maxkeys",
            "keys/maxbytes",
        )
    ),
    *(
        f"fs/{name}"
        for name in (
            "suid_dumpable",
            "protected_symlinks",
            "protected_hardlinks",
            "protected_fifos",
            "protected_regular",
        )
    ),
    *(
        f"fs/{name}"
        for name in ("file-max", "nr_open", "aio-max-nr", "inotify/max_user_instances", "inotify/max_user_watches")
    ),
    *(
        f"vm/{name}"
        for name in (
            "max_map_count",
            "overcommit_memory",
            "swappiness",
            "mmap_min_addr",
            "dirty_ratio",
            "dirty_background_ratio",
        )
    ),
    *(f"net/core/{name}" for name in ("bpf_jit_harden",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """A host of a lab: what it is called, where it lives, what it starts from."""

    name: str
    index: int
    gpus: int
    image: Path
    place: Path
    network: Network

    @property
    def address(self) -> str:
        """Its address in the lab."""
        return self.network.host_address(self.index)

    @property
    def group(self) -> Group:
        """Its control group."""
        return Group(name=f"{self.network.group}/{self.name}", hierarchies=hierarchies())

    @property
    def devices(self) -> dict[str, DeviceNumber]:
        """Its GPUs' device nodes and their numbers."""
        return gpu_devices(self.gpus)

    @property
    def public_key(self) -> str:
        """Its SSH host key, `type base64`; raises OSError where it has not been made."""
        return " ".join((self.place / "upper/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])

    def alive(self) -> bool:
        """Say whether any of its processes lives."""
        return self.group.alive()


def prepare(host: LabHost, *, authorized_key: str, names: dict[str, str]) -> None:
    """Give the host its disk and what is its own in /etc; what it already has of them it keeps."""
    for folder in ("upper", "work", "root", "disk"):
        (host.place / folder).mkdir(parents=True, exist_ok=True)
    _prepare_disk(host.place / "disk.ext4")
    upper = host.place / "upper"
    _write(upper, "root/.ssh/authorized_keys", authorized_key, mode=0o600)
    (upper / "root").chmod(0o700)
    (upper / "root/.ssh").chmod(0o700)
    if not (upper / "etc/machine-id").exists():
        _write(upper, "etc/machine-id", f"{uuid.uuid4().hex}\n", mode=0o444)
    _write(upper, "etc/hostname", f"{host.name}\n")
    _write(upper, "etc/hosts", hosts_file(host, names))
    # Look-ups fail at once instead of after a resolver's time-out: the machine's resolver is out of reach.
    _write(upper, "etc/resolv.conf", "nameserver 127.0.0.1\n")
    _write(
        upper,
        "etc/apt/apt.conf.d/99supplier",
        f'Acquire::http::Proxy "http://{host.network.controller}:{PROXY_PORT}";\n',
    )
    _write(
        upper,
        "etc/host-gpus",
        "".join(f"{name} {number.major} {number.minor}\n" for name, number in host.devices.items()),
    )
    _write(upper, "etc/host-sysctls", "".join(f"{key}\n" for key in SYSCTLS))
    _write(upper, "usr/local/lib/host-hardware.sh", (TEMPLATES / "hardware.sh").read_text())
    _write(upper, f"etc/systemd/system/{UNIT}", (TEMPLATES / "hardware.service").read_text())
    link = upper / "etc/systemd/system/sysinit.target.wants" / UNIT
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(f"/etc/systemd/system/{UNIT}")
    _host_key(upper / "etc/ssh/ssh_host_ed25519_key", host.name)


def start(host: LabHost) -> None:
    """Start a host that is not alive; returns when its launcher is in its control group."""
    group = host.group
    group.remove()
    know_host(host.network, host.index)
    group.create((*DEVICES, *(f"c {number.major}:{number.minor} rwm" for number in host.devices.values())))
    *first, devices = group.procs_files()
    task = {
        "name": host.name,
        "machine": f"{host.network.name}-{host.name}",
        "place": str(host.place),
        "image": str(host.image),
        "fabric": host.network.name,
        "port": f"host{host.index}",
        "mac": host.network.host_mac(host.index),
        "address": host.address,
        "gateway": host.network.controller,
        "devices_group": str(devices),
        "kill_file": str(group.unified / "cgroup.kill"),
    }
    detached.start("provision.lab.launcher", task, procs_files=tuple(first), log=host.place / "console.log")


def stop(host: LabHost) -> None:
    """End a host at once, as a power cut does; its disk and files stay."""
    host.group.remove()


def hosts_file(host: LabHost, names: dict[str, str]) -> str:
    """Give the host's /etc/hosts: itself, the lab's hosts, nothing of the machine."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", f"{host.address} {host.name}"]
    lines += [f"{address} {name}" for name, address in sorted(names.items()) if name != host.name]
    return "\n".join(lines) + "\n"


def _prepare_disk(disk: Path) -> None:
    """Make a sparse ext4 disk; a half-made one has another name and is made again."""
    if disk.exists():
        return
    partial = disk.with_suffix(".partial")
    with partial.open("wb") as file:
        file.truncate(DISK_BYTES)
    options = ("-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", "-J", "size=64")
    run(["mkfs.ext4", *options, partial], timeout_seconds=TOOL_TIMEOUT_SECONDS)
    partial.rename(disk)


def _host_key(key: Path, name: str) -> None:
    """Make the host's own SSH key, once."""
    if key.with_suffix(".pub").exists() and key.exists():
        return
    key.parent.mkdir(parents=True, exist_ok=True)
    partial = key.with_name(".new_host_key")
    for path in (partial, partial.with_suffix(".pub")):
        path.unlink(missing_ok=True)
    run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", partial], timeout_seconds=TOOL_TIMEOUT_SECONDS
    )
    partial.with_suffix(".pub").rename(key.with_suffix(".pub"))
    partial.rename(key)


def _write(root: Path, name: str, text: str, *, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)
