"""The mesh as it is on a host: the pause container and, in its namespace, interfaces, peers and routes.

What is made here is made by `templates/mesh.sh`, which the mesh's unit runs; this compares and names what differs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from provision.deploys.item import Change, Command, change, quote
from provision.deploys.items.packages import Packages
from provision.deploys.places import engine_socket

_SYNC_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class WireGuardProgram(Packages):
    """wireguard-go, on hosts whose kernel has no WireGuard."""

    names: tuple[str, ...] = ("wireguard-go",)
    provides: str = "wireguard"

    def probe(self) -> str:
        """Say whether the kernel or a program provides WireGuard."""
        return (
            "{ [ -e /sys/module/wireguard ] || modprobe -nq wireguard || command -v wireguard-go >/dev/null; }"
            " && echo provided"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The container whose namespace the booking's containers share. The mesh's unit makes it; it is removed here."""

    booking: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'container pause'."""
        return "container pause"

    def probe(self) -> str:
        """Print its id."""
        return f"{self._docker} inspect -f '{{{{.Id}}}}' pause"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Nothing: the unit makes it."""
        return ()

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove it, and with it the namespace and all that is in it."""
        return (change("no longer wanted", f"{self._docker} rm -f -v pause >/dev/null"),) if seen else ()

    @property
    def _docker(self) -> str:
        return f"timeout 20 docker -H {quote('unix://' + engine_socket(self.booking))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePeer:
    """A peer as the interface should have it."""

    host: str
    public_key: str
    preshared_key: str = field(repr=False)
    allowed_ips: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlane:
    """An interface as it should be."""

    index: int
    interface: str
    listen_port: int
    address: str
    mtu: int
    peers: tuple[LivePeer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMesh:
    """The mesh as the kernel has it, brought in line without touching an interface that stands.

    `follows` are files whose change asks for a sync even where nothing differs yet; while `unit` starts in the same
    run, it does all this itself.
    """

    directory: str
    unit: str
    follows: tuple[str, ...]
    pause_image: str
    name: str
    address: str
    hosts: str
    planes: tuple[LivePlane, ...]
    shared: str = ""

    @property
    def label(self) -> str:
        """'mesh'."""
        return "mesh"

    def probe(self) -> str:
        """Print what is there, without secrets."""
        return f"sh {self._script} show {quote(self.directory)}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Name each difference; one sync puts all of them right."""
        if self.unit in changed:
            return ()
        reasons = self._differences(Live.parse(seen))
        reasons += [f"{label} changes" for label in self.follows if label in changed and not reasons]
        text = f"sh {self._script} sync {quote(self.directory)}"
        sync = Command(text=text, timeout_seconds=_SYNC_TIMEOUT_SECONDS)
        return tuple(Change(reason=why, commands=(sync,) if why == reasons[0] else ()) for why in reasons)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Nothing: it goes with the pause container."""
        return ()

    def _differences(self, live: Live) -> list[str]:
        if live.pause != (self.pause_image, self.name):
            return [f"pause container of {live.pause[0]}" if any(live.pause) else "pause container not running"]
        found = []
        if self.address not in live.addresses:
            found.append(f"address {self.address} missing")
        if live.hosts != hashlib.sha256(self.hosts.encode()).hexdigest():
            found.append("host names differ")
        if live.resolver != "nameserver 127.0.0.1":
            found.append("resolver differs")
        for plane in self.planes:
            found += [
                f"{what} on plane {plane.index}" for what in _plane_differences(plane, live.planes.get(plane.index))
            ]
        return found

    @property
    def _script(self) -> str:
        return quote(f"{self.directory}/mesh.sh")


@dataclass(slots=True, kw_only=True)
class SeenPlane:
    """An interface as it is."""

    kind: str
    own_key: str
    listen_port: str
    mtu: str
    addresses: str
    peers: dict[str, tuple[frozenset[str], str]] = field(default_factory=dict)
    secrets: str = ""
    routes: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Live:
    """What `mesh.sh show` printed."""

    pause: tuple[str, str] = ("", "")
    hosts: str = ""
    resolver: str = ""
    addresses: frozenset[str] = frozenset()
    planes: dict[int, SeenPlane] = field(default_factory=dict)

    @classmethod
    def parse(cls, seen: str) -> Live:
        """Read its lines; what is missing stays empty."""
        live = cls()
        for line in seen.splitlines():
            match line.split():
                case ["pause", image, name]:
                    live.pause = (image, name)
                case ["hosts", digest]:
                    live.hosts = digest
                case ["resolver", *words]:
                    live.resolver = " ".join(words)
                case ["address", *networks]:
                    live.addresses = frozenset(network.removesuffix("/32") for network in networks)
                case ["interface", index, kind, own, port, mtu, *addresses]:
                    live.planes[int(index)] = SeenPlane(
                        kind=kind, own_key=own, listen_port=port, mtu=mtu, addresses="".join(addresses)
                    )
                case ["peer", index, key, allowed, endpoint]:
                    live.planes[int(index)].peers[key] = (frozenset(allowed.split(",")), endpoint)
                case ["secrets", index, digest]:
                    live.planes[int(index)].secrets = digest
                case ["route", index, destination]:
                    live.planes[int(index)].routes.add(destination.removesuffix("/32"))
        return live


def _plane_differences(plane: LivePlane, seen: SeenPlane | None) -> list[str]:
    if seen is None:
        return [f"interface {plane.interface} missing"]
    found = []
    if seen.own_key != "right":
        found.append("own key is wrong")
    if seen.listen_port != str(plane.listen_port):
        found.append(f"port is {seen.listen_port}, should be {plane.listen_port},")
    if seen.mtu != str(plane.mtu):
        found.append(f"MTU is {seen.mtu}, should be {plane.mtu},")
    if seen.addresses != f"{plane.address}/32,":
        found.append(f"address {plane.address} missing")
    return found + _peer_differences(plane, seen) + _route_differences(plane, seen)


def _peer_differences(plane: LivePlane, seen: SeenPlane) -> list[str]:
    found = []
    for peer in plane.peers:
        allowed, endpoint = seen.peers.get(peer.public_key, (frozenset(), ""))
        if not endpoint:
            found.append(f"peer {peer.host} missing")
        elif allowed != frozenset(peer.allowed_ips):
            found.append(f"addresses of peer {peer.host} differ")
        elif endpoint == "(none)":
            found.append(f"endpoint of peer {peer.host} missing")
    known = {peer.public_key for peer in plane.peers}
    found += [f"unknown peer {key}" for key in seen.peers if key not in known]
    if not found and seen.secrets != secrets_digest(plane.peers):
        found.append("preshared keys differ")
    return found


def _route_differences(plane: LivePlane, seen: SeenPlane) -> list[str]:
    wished = {ip.removesuffix("/32") for peer in plane.peers for ip in peer.allowed_ips}
    return [
        *(f"route to {missing} missing" for missing in sorted(wished - seen.routes)),
        *(f"route to {foreign} not ours" for foreign in sorted(seen.routes - wished)),
    ]


def secrets_digest(peers: tuple[LivePeer, ...]) -> str:
    """Return the digest of all preshared keys as `wg show … preshared-keys | sort` prints them."""
    lines = sorted(f"{peer.public_key}\t{peer.preshared_key}\n" for peer in peers)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
