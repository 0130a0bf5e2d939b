"""What differs between a mesh as wished and as a host shows it: named, with the plane and the peer."""

from dataclasses import replace

import pytest

from provision.deploys.items.planes import Peer, Plane, SeenMesh, differences, secrets_digest

KEYS = tuple(f"{letter * 43}=" for letter in "ABC")
PEERS = tuple(
    Peer(
        host=f"lab-a{n + 2}",
        public_key=KEYS[n],
        preshared_key=KEYS[2 - n],
        allowed_ips=(f"10.90.0.{n + 2}/32", f"10.88.0.{n + 2}/32"),
    )
    for n in range(2)
)
PLANE = Plane(index=1, interface="tl0p1", listen_port=51821, address="10.91.0.1", mtu=1420, peers=PEERS)
LINES = (
    "interface 1 userspace right 51821 1420 10.91.0.1/32,",
    f"peer 1 {KEYS[0]} 10.90.0.2/32,10.88.0.2/32 192.0.2.2:51821",
    f"peer 1 {KEYS[1]} 10.88.0.3/32,10.90.0.3/32 192.0.2.3:51821",
    f"secrets 1 {secrets_digest(PEERS)}",
    "route 1 10.88.0.2",
    "route 1 10.90.0.2",
    "route 1 10.88.0.3/32",
    "route 1 10.90.0.3",
)


def found(*lines: str) -> list[str]:
    return differences(PLANE, SeenMesh.parse("\n".join(lines)).planes.get(1))


def test_a_whole_plane_differs_in_nothing() -> None:
    assert found(*LINES) == []


def test_no_plane_at_all() -> None:
    assert found() == ["interface tl0p1 missing"]


@pytest.mark.parametrize(
    ("line", "instead", "reasons"),
    [
        (0, "interface 1 kernel wrong 51821 1420 10.91.0.1/32,", ["own key wrong"]),
        (0, "interface 1 kernel right 40000 1420 10.91.0.1/32,", ["port 40000 instead of 51821"]),
        (0, "interface 1 kernel right 51821 1380 10.91.0.1/32,", ["MTU 1380 instead of 1420"]),
        (0, "interface 1 kernel right 51821 1420", ["address 10.91.0.1 missing"]),
        (1, "", ["peer lab-a2 missing"]),
        (1, f"peer 1 {KEYS[2]} 10.90.0.2/32 192.0.2.2:1", ["peer lab-a2 missing", f"unknown peer {KEYS[2]}"]),
        (1, f"peer 1 {KEYS[0]} 10.90.0.2/32 192.0.2.2:51821", ["other addresses of peer lab-a2"]),
        (1, f"peer 1 {KEYS[0]} 0.0.0.0/0 192.0.2.2:51821", ["other addresses of peer lab-a2"]),
        (1, f"peer 1 {KEYS[0]} 10.90.0.2/32,10.88.0.2/32 (none)", ["no endpoint of peer lab-a2"]),
        (3, f"secrets 1 {'0' * 64}", ["other preshared keys"]),
        (4, "", ["route to 10.88.0.2 missing"]),
        (4, "route 1 10.88.0.2\nroute 1 0.0.0.0/1", ["unknown route to 0.0.0.0/1"]),
    ],
)
def test_each_difference_is_named(line: int, instead: str, reasons: list[str]) -> None:
    assert found(*LINES[:line], instead, *LINES[line + 1 :]) == reasons


def test_secrets_are_not_shown() -> None:
    assert KEYS[2] not in repr(PEERS[0])


def test_the_digest_of_secrets_does_not_depend_on_the_order_and_tells_each_pair() -> None:
    first, second = PEERS
    assert secrets_digest((first, second)) == secrets_digest((second, first))
    assert secrets_digest((first, second)) != secrets_digest((first, replace(second, preshared_key=KEYS[0])))
