"""The ssh configuration is ours alone, and arguments arrive as they were given."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from provision.booking.access import ssh_argv, submit_argv, write_ssh_config
from provision.home import BookingPlace
from provision.matching.model import Plan, PlannedHost
from tests.provision.booking.test_survey import HOST


def plan() -> Plan:
    hosts = (HOST, replace(HOST, name="a2", address="10.0.0.2", port=2222, key_file="/with space/k"))
    return Plan(
        name="demo",
        start_ns=0,
        end_ns=1,
        image="",
        hosts=tuple(PlannedHost(host=host, gpus=()) for host in hosts),
        worst_rtt_ns=0,
        price_micros=0,
        currency="EUR",
        why_not=(),
        request_digest="",
        supply_digest="",
    )


def test_openssh_reads_what_we_write(tmp_path: Path) -> None:
    config = write_ssh_config(BookingPlace(root=tmp_path / "demo").make(), plan())
    shown = subprocess.run(["ssh", "-F", str(config), "-G", "a2"], capture_output=True, text=True, check=True).stdout
    lines = set(shown.splitlines())
    assert {"hostname 10.0.0.2", "port 2222", "user root", "stricthostkeychecking true"} <= lines
    assert {"identitiesonly yes", "identityfile /with space/k", "globalknownhostsfile /dev/null"} <= lines
    assert f"userknownhostsfile {tmp_path}/demo/known_hosts" in lines


def test_arguments_stay_apart_on_the_other_side(tmp_path: Path) -> None:
    words = ("python", "-c", "print('a b'); x = 1", "$HOME", "")
    remote = ssh_argv(tmp_path / "c", "a1", words)[-1]
    echoed = subprocess.run(
        ["sh", "-c", f"for w in {remote}; do printf '%s\\n' \"$w\"; done"], capture_output=True, text=True, check=True
    )
    assert echoed.stdout.split("\n")[:-1] == list(words)


def test_submit_enters_the_ray_container_of_the_booking(tmp_path: Path) -> None:
    argv = submit_argv(tmp_path / "c", "demo", "a1", ("true",), terminal=False)
    assert argv[:4] == ["ssh", "-F", str(tmp_path / "c"), "a1"]
    assert argv[-1] == "docker -H unix:///run/timelock/demo.sock exec -i ray true"
