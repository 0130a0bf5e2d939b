"""What a booking's stack is told: hosts, GPUs, images, planes. Its own small type, filled from a Plan; JSON both ways.

It holds no secret: the master of the preshared keys goes another way (`stacks.engine`, over stdin).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from stacks import codec
from stacks.errors import SpecInvalid
from stacks.protocol import Connection

SPEC_VERSION = 1
IDENTITY_NETWORK = ipaddress.IPv4Network("10.88.0.0/16")
PLANE_NETWORKS = tuple(ipaddress.IPv4Network(f"10.9{plane}.0.0/16") for plane in range(3))

PACKAGES = ("docker.io", "iproute2", "nftables", "uidmap", "wireguard-tools")
SYSCTLS: Mapping[str, str] = {
    "fs.inotify.max_user_instances": "1024",
    "kernel.dmesg_restrict": "1",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv6.conf.all.accept_redirects": "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpec:
    """One booked GPU of a host."""

    uuid: str
    index: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """One host of the booking. `address` is where its peers reach it; `mesh_index` counts from 1 and stays its own."""

    name: str
    connection: Connection
    address: str
    gpus: tuple[GpuSpec, ...]
    cpus: int
    memory_bytes: int
    mesh_index: int
    management: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where images come from; `ca_pem` is the authority that signed its certificate, if not a public one."""

    address: str
    ca_pem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingSpec:
    """All that the stack of a booking is made from; images are references by digest.

    `head_cpus` is the number of CPUs that Ray offers on the head's host; `generation` counts rotations of the
    preshared keys; `code_version` changes when the deploys' code does, so that hosts are looked at again.
    """

    name: str
    slot: int
    hosts: tuple[HostSpec, ...]
    head: str
    image: str
    pause_image: str
    registry: Registry | None = None
    head_cpus: int = 1
    planes: tuple[int, ...] = (0,)
    generation: int = 1
    code_version: str = ""
    packages: tuple[str, ...] = PACKAGES
    sysctls: Mapping[str, str] = field(default_factory=lambda: dict(SYSCTLS))

    def encode(self) -> str:
        """One line of JSON."""
        return codec.dump(self, version=SPEC_VERSION)

    @classmethod
    def decode(cls, text: str | bytes) -> BookingSpec:
        """Read what `encode` wrote, and check it.

        Raises:
            SpecInvalid: a field that cannot be read, or hosts that contradict each other.
        """
        spec = codec.load(cls, text, version=SPEC_VERSION)
        spec.check()
        return spec

    def check(self) -> None:
        """Refuse a spec that cannot be built.

        Raises:
            SpecInvalid: the first thing that is wrong.
        """
        names = [host.name for host in self.hosts]
        indices = [host.mesh_index for host in self.hosts]
        if self.head not in names:
            raise SpecInvalid(f"booking {self.name}: expected the head among its hosts {names}, found {self.head!r}")
        if len(set(names)) < len(names) or len(set(indices)) < len(indices):
            raise SpecInvalid(f"booking {self.name}: expected each host and mesh index once, found {names}, {indices}")
        if not all(0 < index < IDENTITY_NETWORK.num_addresses - 1 for index in indices):
            raise SpecInvalid(f"booking {self.name}: expected mesh indices of 1 to 65534, found {indices}")
        if not self.planes or not set(self.planes) <= set(range(len(PLANE_NETWORKS))):
            raise SpecInvalid(f"booking {self.name}: expected planes among 0, 1 and 2, found {list(self.planes)}")
