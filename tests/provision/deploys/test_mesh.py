"""Role 'mesh': what it asks for, how it decides, and that no secret shows."""

import hashlib
from collections.abc import Mapping

import pytest

from provision.deploys.errors import StepFailed
from provision.deploys.item import Command, Item
from provision.deploys.items.files import File
from provision.deploys.items.mesh import LiveMesh
from provision.deploys.items.planes import secrets_digest
from provision.deploys.mesh import Mesh
from provision.deploys.places import booking_state
from provision.deploys.role import parse

IMAGE = f"registry:5000/timelock/pause@sha256:{'0' * 64}"
KEY, PRESHARED = f"{'A' * 43}=", f"{'s' * 43}="
PEER: Mapping[str, object] = {
    "host": "lab-a2",
    "endpoint": "192.0.2.2:51820",
    "public_key": KEY,
    "preshared_key": PRESHARED,
    "allowed_ips": ["10.90.0.2/32", "10.88.0.2/32"],
}
PLANE: Mapping[str, object] = {
    "index": 0,
    "interface": "tl0p0",
    "listen_port": 51820,
    "address": "10.90.0.1",
    "mtu": 1420,
    "peers": [PEER],
}
PARAMS: Mapping[str, object] = {
    "booking": "demo",
    "slot": 0,
    "pause_image": IMAGE,
    "address": "10.88.0.1",
    "planes": [PLANE],
    "hosts": {"lab-a2": "10.88.0.2", "lab-a1": "10.88.0.1"},
}
HERE = f"{booking_state('demo')}/mesh"


def mesh(**params: object) -> Mesh:
    role = parse("mesh", {**PARAMS, **params})
    assert isinstance(role, Mesh)
    return role


def items(role: Mesh) -> dict[str, Item]:
    return {item.label: item for item in role.items()}


def file(role: Mesh, name: str) -> str:
    item = items(role)[f"file {HERE}/{name}"]
    assert isinstance(item, File)
    assert item.mode == 0o600
    return item.content


def live(role: Mesh) -> LiveMesh:
    item = items(role)["mesh"]
    assert isinstance(item, LiveMesh)
    return item


def whole(role: Mesh) -> str:
    hosts = hashlib.sha256(file(role, "hosts").encode()).hexdigest()
    return "\n".join(
        (
            f"pause {IMAGE} lab-a1",
            f"hosts {hosts}",
            "resolver nameserver 127.0.0.1 ",
            "address 10.88.0.1/32",
            "interface 0 userspace right 51820 1420 10.90.0.1/32,",
            f"peer 0 {KEY} 10.90.0.2/32,10.88.0.2/32 192.0.2.2:51820",
            f"secrets 0 {secrets_digest(live(role).planes[0].peers)}",
            "route 0 10.90.0.2",
            "route 0 10.88.0.2",
        )
    )


def test_files_that_the_unit_works_from() -> None:
    role = mesh()
    assert file(role, "planes") == f"0 tl0p0 51820 10.90.0.1 1420 {booking_state('demo')}/wireguard-0.key\n"
    assert file(role, "routes-0") == "10.90.0.2/32\n10.88.0.2/32 src 10.88.0.1\n"
    assert file(role, "hosts") == "127.0.0.1 localhost\n10.88.0.1 lab-a1\n10.88.0.2 lab-a2\n"
    assert "name=lab-a1\n" in file(role, "settings")
    assert file(role, "peers-0") == (
        f"# lab-a2\n[Peer]\nPublicKey = {KEY}\nPresharedKey = {PRESHARED}\n"
        "Endpoint = 192.0.2.2:51820\nAllowedIPs = 10.90.0.2/32, 10.88.0.2/32\n"
    )


def test_more_planes_are_a_list() -> None:
    second = {**PLANE, "index": 1, "interface": "tl0p1", "listen_port": 51821, "address": "10.91.0.1"}
    role = mesh(planes=[PLANE, second])
    assert len(file(role, "planes").splitlines()) == 2
    assert file(role, "peers-1") == file(role, "peers-0")
    assert [plane.index for plane in live(role).planes] == [0, 1]


def test_a_whole_mesh_asks_for_nothing() -> None:
    role = mesh()
    assert live(role).changes(whole(role), frozenset()) == ()


@pytest.mark.parametrize(
    ("line", "instead", "reason"),
    [
        (f"pause {IMAGE} lab-a1", "", "pause container not running"),
        (f"pause {IMAGE} lab-a1", f"pause {IMAGE[:-1]}1 lab-a1", "another pause container"),
        ("address 10.88.0.1/32", "address", "address 10.88.0.1 missing"),
        ("address 10.88.0.1/32", "address 10.88.0.1/32 10.1.0.1/8", "address 10.88.0.1 missing"),
        ("resolver nameserver 127.0.0.1 ", "resolver nameserver 192.0.2.9", "another resolver"),
        (f"peer 0 {KEY} 10.90.0.2/32,10.88.0.2/32 192.0.2.2:51820\n", "", "peer lab-a2 missing on plane 0"),
    ],
)
def test_a_difference_is_named_and_one_sync_asked_for(line: str, instead: str, reason: str) -> None:
    role = mesh()
    (change,) = live(role).changes(whole(role).replace(line, instead), frozenset())
    assert change.reason == reason
    assert [command.text for command in change.commands] == [f"sh {HERE}/mesh.sh sync {HERE}"]


def test_several_differences_cost_one_sync() -> None:
    role = mesh()
    text = "\n".join(line for line in whole(role).splitlines() if not line.startswith("route"))
    changes = live(role).changes(text, frozenset())
    assert len(changes) == 2
    assert sum(len(change.commands) for change in changes) == 1


def test_a_changed_peer_file_is_synced_and_nothing_restarts() -> None:
    role = mesh()
    label = f"file {HERE}/peers-0"
    (change,) = live(role).changes(whole(role), frozenset({label}))
    assert change.reason == f"{label} changes"
    assert label not in getattr(items(role)["unit timelock-mesh@demo.service"], "follows", ())


def test_what_starts_anew_is_not_synced_beside() -> None:
    role = mesh()
    assert live(role).changes("", frozenset({"unit timelock-mesh@demo.service"})) == ()


def test_the_pause_container_goes_after_its_unit() -> None:
    labels = [item.label for item in mesh().items()]
    assert labels.index("container pause") < labels.index("unit timelock-mesh@demo.service")


def test_outputs_tell_what_carries_each_plane() -> None:
    role = mesh()
    assert role.outputs({"mesh": whole(role)}) == {"wireguard": {"0": "userspace"}}
    assert role.outputs({"mesh": ""}) == {"wireguard": {}}


def test_secrets_stay_out_of_text_and_repr() -> None:
    role = mesh()
    commands: list[Command] = [
        command for item in role.items() for change in item.changes("", frozenset()) for command in change.commands
    ]
    assert PRESHARED not in f"{role} {role.items()} {commands} {[command.text for command in commands]}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"planes": []},
        {"planes": [{**PLANE, "interface": "tl0; reboot"}]},
        {"planes": [{**PLANE, "peers": [{**PEER, "host": "a\nb"}]}]},
        {"planes": [{**PLANE, "peers": [{**PEER, "endpoint": "192.0.2.2"}]}]},
        {"planes": [{**PLANE, "peers": [{**PEER, "public_key": "short"}]}]},
        {"planes": [{**PLANE, "peers": [{**PEER, "allowed_ips": ["10.88.0.2/8"]}]}]},
        {"hosts": {"a b": "10.88.0.1"}},
        {"pause_image": "registry:5000/timelock/pause:1"},
    ],
)
def test_what_is_not_a_mesh_is_refused(wrong: Mapping[str, object]) -> None:
    with pytest.raises(StepFailed) as refused:
        mesh(**wrong)
    assert refused.value.kind == "invalid"
    assert PRESHARED not in str(refused.value)
