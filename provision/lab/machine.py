"""Asks, before anything is made, whether this machine can carry a lab; says what to do where it cannot.

Looks only; changes nothing but by making the state directory.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from provision.errors import InvalidInput, MachineCannot
from provision.home import Home
from provision.lab.cgroups import hierarchies
from provision.lab.gpus import gpu_devices
from provision.lab.kernel import ARCHITECTURES, spare_watchers
from provision.lab.tool import run

MAX_HOSTS = 64
WATCHERS_PER_HOST = 10
NEEDED_BYTES_PER_HOST = 2_000_000_000
# Programs and the Debian packages they come from.
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nft": "nftables",
    "mkfs.ext4": "e2fsprogs",
    "ssh-keygen": "openssh-client",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "umoci": "umoci",
}
UNFIT = ("overlayfs", "nfs", "fuseblk", "vfat", "msdos", "smb2", "cifs", "v9fs")


def require(home: Home, *, hosts: int, gpus: int) -> None:
    """Raise InvalidInput for a lab that cannot be meant, MachineCannot where the machine lacks what this one needs."""
    if not 1 <= hosts <= MAX_HOSTS:
        raise InvalidInput((f"hosts: expected 1 to {MAX_HOSTS}, found {hosts}",))
    gpu_devices(gpus)
    require_root()
    _require_tools()
    hierarchies()
    if platform.machine() not in ARCHITECTURES:
        raise MachineCannot(
            f"expected a machine of {' or '.join(ARCHITECTURES)}, found {platform.machine()}",
            next_step="name real hosts in an inventory",
        )
    home.labs.mkdir(parents=True, exist_ok=True, mode=0o700)
    _require_file_system(home.labs)
    _require_space(home.labs, hosts * NEEDED_BYTES_PER_HOST)


def require_root() -> None:
    """Raise MachineCannot for anybody but root."""
    if os.geteuid() != 0:
        raise MachineCannot(
            f"a lab makes hosts of namespaces and mounts: expected root, found user {os.geteuid()}",
            next_step="run it as root, or with sudo",
        )


def require_watchers(hosts: int) -> None:
    """Raise MachineCannot where so many more hosts could not watch files: their systemd would not start."""
    wanted = hosts * WATCHERS_PER_HOST
    spare = spare_watchers(wanted)
    if spare < wanted:
        raise MachineCannot(
            f"expected {wanted} inotify instances for {hosts} more hosts, found {spare} left on this machine",
            next_step="take labs down that are not needed, or sysctl -w fs.inotify.max_user_instances=1024",
        )


def _require_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        raise MachineCannot(
            f"expected these programs on the machine, found none of them: {', '.join(missing)}",
            next_step=f"apt-get install {packages}",
        )


def _require_file_system(place: Path) -> None:
    kind = run(["stat", "--file-system", "--format=%T", place], timeout_seconds=30).strip()
    if kind in UNFIT:
        raise MachineCannot(
            f"{place}: expected a local file system such as ext4, xfs or tmpfs, found {kind}, unfit for a host's files",
            next_step="name a directory on another file system in TIMELOCK_HOME",
        )


def _require_space(place: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise MachineCannot(
            f"{place}: expected {needed_bytes / 10**9:.0f} GB free for the hosts' disks, found {free / 10**9:.1f} GB",
            next_step="free some space, or name another disk in TIMELOCK_HOME",
        )
