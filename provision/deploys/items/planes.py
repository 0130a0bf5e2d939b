"""A mesh as it should be and as a host shows it; the differences, named. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A peer as an interface should have it."""

    host: str
    public_key: str
    preshared_key: str = field(repr=False)
    allowed_ips: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """An interface as it should be."""

    index: int
    interface: str
    listen_port: int
    address: str
    mtu: int
    peers: tuple[Peer, ...]


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
class SeenMesh:
    """What `mesh.sh show` printed; what is missing stays empty."""

    pause: tuple[str, str] = ("", "")
    hosts: str = ""
    resolver: str = ""
    addresses: frozenset[str] = frozenset()
    planes: dict[int, SeenPlane] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> SeenMesh:
        """Read its lines."""
        seen = cls()
        for line in text.splitlines():
            match line.split():
                case ["pause", image, name]:
                    seen.pause = (image, name)
                case ["hosts", digest]:
                    seen.hosts = digest
                case ["resolver", *words]:
                    seen.resolver = " ".join(words)
                case ["address", *networks]:
                    seen.addresses = frozenset(map(_bare, networks))
                case ["interface", index, kind, own, port, mtu, *addresses]:
                    seen.planes[int(index)] = SeenPlane(
                        kind=kind, own_key=own, listen_port=port, mtu=mtu, addresses="".join(addresses)
                    )
                case ["peer", index, key, allowed, endpoint]:
                    seen.planes[int(index)].peers[key] = (frozenset(allowed.split(",")), endpoint)
                case ["secrets", index, digest]:
                    seen.planes[int(index)].secrets = digest
                case ["route", index, destination]:
                    seen.planes[int(index)].routes.add(_bare(destination))
        return seen


def differences(plane: Plane, seen: SeenPlane | None) -> list[str]:
    """Return what is wrong with an interface, in words."""
    if seen is None:
        return [f"interface {plane.interface} missing"]
    found = []
    if seen.own_key != "right":
        found.append("own key wrong")
    if seen.listen_port != str(plane.listen_port):
        found.append(f"port {seen.listen_port} instead of {plane.listen_port}")
    if seen.mtu != str(plane.mtu):
        found.append(f"MTU {seen.mtu} instead of {plane.mtu}")
    if seen.addresses != f"{plane.address}/32,":
        found.append(f"address {plane.address} missing")
    return found + _peers(plane, seen) + _routes(plane, seen)


def secrets_digest(peers: tuple[Peer, ...]) -> str:
    """Return the digest of all preshared keys as `wg show … preshared-keys | sort` prints them."""
    lines = sorted(f"{peer.public_key}\t{peer.preshared_key}\n" for peer in peers)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _peers(plane: Plane, seen: SeenPlane) -> list[str]:
    found = []
    for peer in plane.peers:
        allowed, endpoint = seen.peers.get(peer.public_key, (frozenset(), ""))
        if not endpoint:
            found.append(f"peer {peer.host} missing")
        elif allowed != frozenset(peer.allowed_ips):
            found.append(f"other addresses of peer {peer.host}")
        elif endpoint == "(none)":
            found.append(f"no endpoint of peer {peer.host}")
    known = {peer.public_key for peer in plane.peers}
    found += [f"unknown peer {key}" for key in seen.peers if key not in known]
    if not found and seen.secrets != secrets_digest(plane.peers):
        found.append("other preshared keys")
    return found


def _routes(plane: Plane, seen: SeenPlane) -> list[str]:
    wished = {_bare(ip) for peer in plane.peers for ip in peer.allowed_ips}
    return [
        *(f"route to {missing} missing" for missing in sorted(wished - seen.routes)),
        *(f"unknown route to {foreign}" for foreign in sorted(seen.routes - wished)),
    ]


def _bare(network: str) -> str:
    """An address as ip(8) prints it, with or without the length of a single host."""
    return network.removesuffix("/32")
