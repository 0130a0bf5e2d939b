"""Packages: what is missing is installed, in one call."""

import pytest

from provision.deploys.items.packages import Packages

PACKAGES = Packages(names=("nftables", "wireguard-tools"))


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ("nftables ii \nwireguard-tools ii ", None),
        ("nftables ii ", "missing: wireguard-tools"),
        ("nftables rc \nwireguard-tools iU ", "missing: nftables wireguard-tools"),
        ("", "missing: nftables wireguard-tools"),
    ],
)
def test_missing(seen: str, reason: str | None) -> None:
    assert [change.reason for change in PACKAGES.changes(seen, frozenset())] == ([reason] if reason else [])


def test_a_command_from_elsewhere_will_do() -> None:
    docker = Packages(names=("docker.io",), provides="dockerd")
    assert not docker.changes("provided", frozenset())
    assert docker.changes("", frozenset())


def test_packages_stay() -> None:
    assert not PACKAGES.removal("nftables ii ")


def test_services_are_not_started_by_maintainer_scripts() -> None:
    (change,) = PACKAGES.changes("", frozenset())
    assert "policy-rc.d" in change.commands[0].text
    assert "install --no-install-recommends nftables wireguard-tools" in change.commands[0].text
