"""The survey's judgement as a table, and the known_hosts it pins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.booking.survey import FREE_BYTES_NEEDED, judge, pin_host_keys
from provision.errors import HostFailed
from provision.supply.model import Host

HOST = Host(
    name="a1",
    supplier="s",
    site="x",
    region="eu",
    tier=None,
    soc2_until_ns=None,
    price_micros_per_gpu_hour=1,
    currency="EUR",
    access_rtt_ns=0,
    address="10.0.0.1",
    port=22,
    user="root",
    key_file="/k",
    host_key="ssh-ed25519 AAAA",
    cpus=1,
    memory_bytes=1,
    gpus=(),
    management=(),
)
FACTS = {"uid": "0", "systemd": "running", "free": str(FREE_BYTES_NEEDED), "ssh_client": "10.9.0.7"}


def test_a_good_host_is_managed_from_where_we_are() -> None:
    assert judge(HOST, FACTS) == (("10.9.0.7/32",), "")
    assert judge(HOST, FACTS | {"ssh_client": "fd00::7"}) == (("fd00::7/128",), "")


def test_stated_management_networks_win() -> None:
    stated = replace(HOST, management=("10.9.0.0/24",))
    assert judge(stated, FACTS) == (("10.9.0.0/24",), "")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"uid": "1000"}, "no root over SSH"),
        ({"systemd": "offline"}, "no systemd"),
        ({"systemd": ""}, "no systemd"),
        ({"free": str(FREE_BYTES_NEEDED - 1)}, "GB free under /srv"),
        ({"free": ""}, "GB free under /srv"),
    ],
)
def test_why_not(facts: dict[str, str], reason: str) -> None:
    nets, found = judge(HOST, FACTS | facts)
    assert nets == ()
    assert reason in found


def test_a_host_that_would_lock_us_out_is_refused() -> None:
    assert "outside its stated management" in judge(replace(HOST, management=("10.1.0.0/24",)), FACTS)[1]


def test_known_hosts_name_the_port_where_it_is_not_22(tmp_path: Path) -> None:
    path = tmp_path / "demo" / "known_hosts"
    pin_host_keys((HOST, replace(HOST, name="a2", address="10.0.0.2", port=2222)), path)
    assert path.read_text() == "10.0.0.1 ssh-ed25519 AAAA\n[10.0.0.2]:2222 ssh-ed25519 AAAA\n"


def test_a_replaced_host_stays_pinned_and_a_new_key_wins(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    pin_host_keys((HOST, replace(HOST, name="a2", address="10.0.0.2")), path)
    pin_host_keys((replace(HOST, host_key="ssh-ed25519 BBBB"),), path)
    assert path.read_text() == "10.0.0.1 ssh-ed25519 BBBB\n10.0.0.2 ssh-ed25519 AAAA\n"


def test_a_host_without_a_stated_key_is_not_trusted_at_first_sight(tmp_path: Path) -> None:
    with pytest.raises(HostFailed, match="expected its public SSH host key in the inventory") as caught:
        pin_host_keys((replace(HOST, host_key=None),), tmp_path / "known_hosts")
    assert caught.value.exit_code == 5
