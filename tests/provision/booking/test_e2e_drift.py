"""What somebody changes by hand on the hosts is named, exactly, and put right, exactly."""

import pytest

from tests.fakes.bookings import Demo

pytestmark = pytest.mark.lab


def test_three_changes_by_hand_are_named_and_repaired_and_nothing_else_moves(demo: Demo) -> None:
    head, worker, other = demo.hosts
    running = demo.containers()
    remove_firewall_rule(demo, head)
    demo.on(worker, f"{demo.docker} kill ray")
    remove_peer(demo, other, of=worker)
    assert [(host, role) for host, role, _ in demo.drift()] == sorted(
        [(head, "firewall"), (worker, "ray"), (other, "mesh")]
    )
    said = {role: what for _, role, what in demo.drift()}
    assert "not running" in said["ray"]
    assert f"peer {worker} missing on plane 0" in said["mesh"]
    assert "wireguard" in said["firewall"]
    repaired = demo.timelock.json("book", demo.request, "--no-serve")
    assert (repaired["state"], repaired["changes"]) == ("ACTIVE", 3)
    now = demo.containers()
    assert {place for place, identity in running.items() if now[place] != identity} == {(worker, "ray")}


def remove_firewall_rule(demo: Demo, host: str) -> None:
    """The one that lets the peers' WireGuard in."""
    listed = demo.on(host, "nft -a list chain inet timelock input")
    (handle,) = (line.split()[-1] for line in listed.splitlines() if f'"{demo.name}: wireguard"' in line)
    demo.on(host, f"nft delete rule inet timelock input handle {handle}")


def remove_peer(demo: Demo, host: str, *, of: str) -> None:
    """Make `host` forget the WireGuard key of the host `of`."""
    (key,) = demo.in_mesh(of, "wg show all public-key").split()[1:]
    demo.in_mesh(host, f"wg set $(wg show interfaces) peer {key} remove")
