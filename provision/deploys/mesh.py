"""Role 'mesh': the booking's network namespace on a host, and in it one WireGuard interface a plane.

The namespace is that of a pause container without any network; the booking's containers join it, so that the mesh is
all they can reach. A unit on the host makes and repairs it. Peers come and go without touching an interface.
"""

from __future__ import annotations

import shlex
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from provision.deploys.item import Item
from provision.deploys.items.files import Directory, File
from provision.deploys.items.images import Image
from provision.deploys.items.mesh import LiveMesh
from provision.deploys.items.pause import Pause, WireGuardProgram
from provision.deploys.items.planes import Peer as WishedPeer
from provision.deploys.items.planes import Plane as WishedPlane
from provision.deploys.items.planes import SeenMesh
from provision.deploys.items.units import Unit
from provision.deploys.places import booking_state, engine_socket, engine_unit
from provision.deploys.role import Role, Seen
from provision.deploys.templates import render

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,62})$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Reference = Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Peer(_Part):
    """Another host of the booking, as one plane reaches it."""

    host: HostName
    endpoint: Annotated[str, Field(pattern=r"^([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$")]
    public_key: Key
    preshared_key: Annotated[Key, Field(repr=False)]
    allowed_ips: Annotated[tuple[IPv4Network, ...], Field(min_length=1)]


class Plane(_Part):
    """One WireGuard interface: this host's end, and every other host as its peer."""

    index: Annotated[int, Field(ge=0, le=15)]
    interface: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,14}$")]
    listen_port: Port
    address: IPv4Address
    mtu: Annotated[int, Field(ge=1280, le=9200)]
    peers: tuple[Peer, ...]


class Mesh(Role):
    """Parameters: this host's mesh address, its planes, and the names of all hosts of the booking."""

    slot: Annotated[int, Field(ge=0)]
    pause_image: Reference
    address: IPv4Address
    planes: Annotated[tuple[Plane, ...], Field(min_length=1)]
    hosts: dict[HostName, IPv4Address]

    def kept(self) -> dict[str, object]:
        """Without peers: their keys are secret, and they go with the interface."""
        planes = tuple(plane.model_copy(update={"peers": ()}) for plane in self.planes)
        return self.model_copy(update={"planes": planes}).model_dump(mode="json", exclude={"booking"})

    def items(self) -> tuple[Item, ...]:
        """WireGuard and pause image, the files that the unit works from, the unit, and what it should have made."""
        script = self._file("mesh.sh", _script())
        settings = self._file("settings", self._settings())
        planes = self._file("planes", "".join(map(self._row, self.planes)))
        hosts = self._file("hosts", self._hosts())
        peers = [self._file(f"peers-{plane.index}", _peers(plane)) for plane in self.planes]
        routes = [self._file(f"routes-{plane.index}", self._routes(plane)) for plane in self.planes]
        content = render(
            "mesh.service", booking=self.booking, engine=engine_unit(self.booking), directory=self._directory
        )
        made_by = (script.label, settings.label, planes.label)
        unit = Unit(name=f"timelock-mesh@{self.booking}.service", content=content, follows=made_by, timeout_seconds=90)
        return (
            WireGuardProgram(),
            Directory(path=self._directory, mode=0o700, private=True),
            script,
            settings,
            planes,
            hosts,
            *peers,
            *routes,
            Image(booking=self.booking, reference=self.pause_image),
            Pause(booking=self.booking),
            unit,
            self._live(unit.label, tuple(file.label for file in (hosts, *peers, *routes))),
        )

    def outputs(self, seen: Seen) -> dict[str, object]:
        """What carries each plane: the kernel or wireguard-go."""
        mesh = SeenMesh.parse(seen["mesh"])
        return {"wireguard": {str(index): plane.kind for index, plane in sorted(mesh.planes.items())}}

    @property
    def _directory(self) -> str:
        return f"{booking_state(self.booking)}/mesh"

    @property
    def _name(self) -> str:
        """This host's name among the booking's hosts."""
        return next((name for name, address in self.hosts.items() if address == self.address), self.booking)

    def _file(self, name: str, content: str) -> File:
        return File(path=f"{self._directory}/{name}", content=content, mode=0o600)

    def _settings(self) -> str:
        values = {
            "booking": self.booking,
            "socket": engine_socket(self.booking),
            "pause_image": self.pause_image,
            "address": str(self.address),
            "name": self._name,
        }
        return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())

    def _row(self, plane: Plane) -> str:
        key = f"{booking_state(self.booking)}/wireguard-{plane.index}.key"
        return f"{plane.index} {plane.interface} {plane.listen_port} {plane.address} {plane.mtu} {key}\n"

    def _hosts(self) -> str:
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in sorted(self.hosts.items()))]
        return "\n".join(lines) + "\n"

    def _routes(self, plane: Plane) -> str:
        """Destinations; those that are mesh addresses are spoken to as this host's own mesh address."""
        mesh = {IPv4Network(address) for address in self.hosts.values()}
        ways = (network for peer in plane.peers for network in peer.allowed_ips)
        return "".join(f"{network} src {self.address}\n" if network in mesh else f"{network}\n" for network in ways)

    def _live(self, unit: str, follows: tuple[str, ...]) -> LiveMesh:
        return LiveMesh(
            directory=self._directory,
            unit=unit,
            follows=follows,
            pause_image=self.pause_image,
            name=self._name,
            address=str(self.address),
            hosts=self._hosts(),
            planes=tuple(map(_wished, self.planes)),
        )


def _peers(plane: Plane) -> str:
    return "".join(
        f"# {peer.host}\n[Peer]\nPublicKey = {peer.public_key}\nPresharedKey = {peer.preshared_key}\n"
        f"Endpoint = {peer.endpoint}\nAllowedIPs = {', '.join(map(str, peer.allowed_ips))}\n"
        for peer in plane.peers
    )


def _wished(plane: Plane) -> WishedPlane:
    return WishedPlane(
        index=plane.index,
        interface=plane.interface,
        listen_port=plane.listen_port,
        address=str(plane.address),
        mtu=plane.mtu,
        peers=tuple(
            WishedPeer(
                host=peer.host,
                public_key=peer.public_key,
                preshared_key=peer.preshared_key,
                allowed_ips=tuple(map(str, peer.allowed_ips)),
            )
            for peer in plane.peers
        ),
    )


@cache
def _script() -> str:
    return (Path(__file__).parent / "templates" / "mesh.sh").read_text()


ROLE = Mesh
