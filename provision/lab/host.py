"""One lab host: a container that boots a whole Debian, with a disk, an identity and GPUs of its own.

Seen from inside it is what a supplier's machine is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provision.errors import HostFailed
from provision.lab import detached, furnish
from provision.lab.cgroups import Group, hierarchies
from provision.lab.devices import DeviceNumber
from provision.lab.gpus import gpu_devices
from provision.lab.network import PROXY_PORT, Network, know_host
from provision.lab.ready import wait_for_ssh

BOOT_LIMIT_SECONDS = 60.0
LAST_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """A host of a lab: what it is called, where its files lie, what it starts from."""

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
    def console(self) -> Path:
        """What it and its launcher said."""
        return self.place / "console.log"

    @property
    def upper(self) -> Path:
        """Every file of it that differs from the image."""
        return self.place / "upper"

    @property
    def public_key(self) -> str:
        """Its SSH host key, `type base64`; raises OSError where it has not been made."""
        return " ".join((self.upper / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])

    def alive(self) -> bool:
        """Say whether any of its processes lives."""
        return self.group.alive()


def prepare(host: LabHost, *, authorized_key: str) -> None:
    """Give the host its disk and all that is its own."""
    for folder in ("upper", "work", "root", "disk"):
        (host.place / folder).mkdir(parents=True, exist_ok=True)
    furnish.make_disk(host.place / "disk.ext4")
    furnish.write_identity(host.upper, name=host.name, authorized_key=authorized_key)
    proxy = f"http://{host.network.controller}:{PROXY_PORT}"
    furnish.write_network(host.upper, hosts=hosts_file(host), package_proxy=proxy)
    furnish.write_hardware(host.upper, host.devices)


def start(host: LabHost) -> None:
    """Start a host that is not alive; returns when its launcher is in its control group. Raises MachineCannot."""
    group = host.group
    group.remove()
    group.create()
    know_host(host.network, host.index)
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
        "gpus": [[number.major, number.minor] for number in host.devices.values()],
        "group": str(group.unified),
        "unified_only": len(group.hierarchies) == 1,
    }
    detached.start("provision.lab.launcher", task, procs_files=group.procs_files(), log=host.console)


def boot(host: LabHost) -> None:
    """Start the host unless it lives, and wait for SSH; raises HostFailed with what its console said last."""
    if not host.alive():
        start(host)
    if wait_for_ssh(host.address, limit_seconds=BOOT_LIMIT_SECONDS, alive=host.alive):
        return
    said = host.console.read_text(errors="replace").splitlines() if host.console.exists() else []
    cause = "\n".join((f"expected SSH to answer at {host.address}, it does not:", *said[-LAST_LINES:]))
    raise HostFailed(host=host.name, step="start", cause=cause, next_step=f"read {host.console}")


def stop(host: LabHost) -> None:
    """End a host at once, as a power cut does; its disk and files stay."""
    host.group.remove()


def hosts_file(host: LabHost) -> str:
    """Give the host's /etc/hosts: itself, and nothing of the machine or of other suppliers."""
    lines = ("127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", f"{host.address} {host.name}")
    return "".join(f"{line}\n" for line in lines)
