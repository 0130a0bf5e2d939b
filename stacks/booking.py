"""What a booking's stack is made of: a spec → one resource a host and role, with its params. Pure.

A spec holds no secret and no output. Where a resource needs a preshared key or what another resource brought forth,
its `keys` and `takes` say so, and `stacks.program` puts the value in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from stacks.protocol import Connection
from stacks.resource import PresharedKey, Resource, Take
from stacks.roles import ROLES, resource_name
from stacks.spec import IDENTITY_NETWORK, PLANE_NETWORKS, BookingSpec, GpuSpec, HostSpec, Registry

__all__ = [
    "BookingSpec",
    "Connection",
    "GpuSpec",
    "HostSpec",
    "PresharedKey",
    "Registry",
    "Resource",
    "Take",
    "mesh_address",
    "resources",
    "user_name",
]

LISTEN_PORT_BASE = 51820
MTU_BYTES = 1420
SUBID_START, SUBID_COUNT = 2_000_000, 65_536
USER_NAME_LIMIT = 31
PIDS_PER_HOST = 4096
SHM_HEADROOM_BYTES = 256 * 1024 * 1024


def resources(spec: BookingSpec) -> tuple[Resource, ...]:
    """All resources of the booking, in an order in which each comes after what it needs and takes from."""
    heads_first = sorted(spec.hosts, key=lambda host: host.name != spec.head)
    return tuple(_resource(spec, host, place) for place in range(len(ROLES)) for host in heads_first)


def mesh_address(host: HostSpec) -> str:
    """The host's address in the booking, whatever plane carries it."""
    return str(IDENTITY_NETWORK[host.mesh_index])


def user_name(booking: str) -> str:
    """The booking's user on its hosts: tl-<booking>, shortened by a digest where it would be too long."""
    name = f"tl-{booking}"
    if len(name) <= USER_NAME_LIMIT:
        return name
    return f"{name[:22]}-{hashlib.sha256(booking.encode()).hexdigest()[:8]}"


def _resource(spec: BookingSpec, host: HostSpec, place: int) -> Resource:
    role = ROLES[place].name
    params, takes, keys = _PARAMS[role](spec, host)
    return Resource(
        name=resource_name(host.name, role),
        role=role,
        host=host.name,
        connection=host.connection,
        params={"booking": spec.name, **params},
        needs=(resource_name(host.name, ROLES[place - 1].name),) if place else (),
        takes=takes,
        keys=keys,
    )


_Made = tuple[Mapping[str, object], tuple[Take, ...], tuple[PresharedKey, ...]]


def _identity(spec: BookingSpec, _: HostSpec) -> _Made:
    return {"planes": list(spec.planes)}, (), ()


def _baseline(spec: BookingSpec, _: HostSpec) -> _Made:
    return (
        {
            "user": user_name(spec.name),
            "subid_start": SUBID_START + spec.slot * SUBID_COUNT,
            "packages": list(spec.packages),
            "sysctls": dict(spec.sysctls),
        },
        (),
        (),
    )


def _engine(spec: BookingSpec, _: HostSpec) -> _Made:
    registry = {"address": spec.registry.address, "ca_pem": spec.registry.ca_pem} if spec.registry else None
    prefetch = [spec.pause_image, spec.image]
    return {"slot": spec.slot, "user": user_name(spec.name), "registry": registry, "prefetch": prefetch}, (), ()


def _firewall(spec: BookingSpec, host: HostSpec) -> _Made:
    return (
        {
            "management": list(host.management),
            "ssh_port": host.connection.port,
            "peers": [peer.address for peer in _peers(spec, host)],
            "udp_ports": [_listen_port(spec, plane) for plane in spec.planes],
        },
        (),
        (),
    )


def _mesh(spec: BookingSpec, host: HostSpec) -> _Made:
    peers = _peers(spec, host)
    params = {
        "slot": spec.slot,
        "pause_image": spec.pause_image,
        "address": mesh_address(host),
        "planes": [_plane(spec, host, peers, plane) for plane in spec.planes],
        "hosts": {member.name: mesh_address(member) for member in spec.hosts},
    }
    places = [(p, n, plane, peer) for p, plane in enumerate(spec.planes) for n, peer in enumerate(peers)]
    takes = tuple(
        Take(
            path=("planes", p, "peers", n, "public_key"),
            resource=resource_name(peer.name, "identity"),
            output=("public_keys", str(plane)),
        )
        for p, n, plane, peer in places
    )
    keys = tuple(
        PresharedKey(
            path=("planes", p, "peers", n, "preshared_key"),
            pair=(host.name, peer.name),
            generation=spec.generation,
        )
        for p, n, _, peer in places
    )
    return params, takes, keys


def _plane(spec: BookingSpec, host: HostSpec, peers: Sequence[HostSpec], plane: int) -> Mapping[str, object]:
    port = _listen_port(spec, plane)
    return {
        "index": plane,
        "interface": f"tl{spec.slot}p{plane}",
        "listen_port": port,
        "address": _transport_address(host, plane),
        "mtu": MTU_BYTES,
        "peers": [
            {
                "host": peer.name,
                "endpoint": f"{peer.address}:{port}",
                "allowed_ips": [f"{_transport_address(peer, plane)}/32", f"{mesh_address(peer)}/32"],
            }
            for peer in peers
        ],
    }


def _image(spec: BookingSpec, _: HostSpec) -> _Made:
    return {"references": [spec.image]}, (), ()


def _ray(spec: BookingSpec, host: HostSpec) -> _Made:
    is_head = host.name == spec.head
    head = next(member for member in spec.hosts if member.name == spec.head)
    object_store_bytes = host.memory_bytes * 3 // 10
    params = {
        "role": "head" if is_head else "worker",
        "image": spec.image,
        "address": mesh_address(host),
        "head_address": mesh_address(head),
        "head_session": None,
        "gpus": [{"uuid": gpu.uuid, "index": gpu.index, "device": gpu.device} for gpu in host.gpus],
        "cpus": spec.head_cpus if is_head else host.cpus,
        "cpu_limit": host.cpus,
        "memory_bytes": host.memory_bytes,
        "shm_bytes": object_store_bytes + SHM_HEADROOM_BYTES,
        "object_store_bytes": object_store_bytes,
        "pids": PIDS_PER_HOST,
    }
    session = Take(path=("head_session",), resource=resource_name(spec.head, "ray"), output=("session",))
    return params, () if is_head else (session,), ()


_PARAMS = {
    "identity": _identity,
    "baseline": _baseline,
    "engine": _engine,
    "firewall": _firewall,
    "mesh": _mesh,
    "image": _image,
    "ray": _ray,
}


def _peers(spec: BookingSpec, host: HostSpec) -> tuple[HostSpec, ...]:
    return tuple(peer for peer in spec.hosts if peer.name != host.name)


def _listen_port(spec: BookingSpec, plane: int) -> int:
    return LISTEN_PORT_BASE + len(PLANE_NETWORKS) * spec.slot + plane


def _transport_address(host: HostSpec, plane: int) -> str:
    return str(PLANE_NETWORKS[plane][host.mesh_index])
