"""Hosts that die or are no longer who they were: only they are replaced, and each can come back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.fakes.bookings import SSH, Demo
from tests.fakes.snapshot import Snapshot, snapshot
from tests.fakes.wait import until

pytestmark = pytest.mark.lab

KEY = "/etc/ssh/ssh_host_ed25519_key"
CHANGE_KEY = f"mv {KEY} /root/kept && ssh-keygen -q -t ed25519 -N '' -f {KEY} <<<y && systemctl restart ssh"
RESTORE_KEY = f"mv /root/kept {KEY} && ssh-keygen -y -f {KEY} > {KEY}.pub && systemctl restart ssh"


def test_a_workers_death_costs_only_that_worker(demo: Demo, before: Mapping[str, Snapshot], ssh: SSH) -> None:
    head, dead, other = demo.hosts
    spare, running = demo.spare, demo.containers()
    demo.lab.kill_host(dead)
    assert demo.timelock.json("resume", "demo")["state"] == "ACTIVE"
    assert demo.hosts == [head, *sorted([other, spare], key=demo.hosts.index)]
    assert kept(running, demo) == {place for place in running if place[0] != dead}
    assert happened(demo) >= {(dead, spare, "lost: only it is replaced")}
    assert quarantined(demo) == {dead}
    demo.lab.start_host(dead)
    assert demo.timelock("host", "restore", dead).out == f"{dead} is back; erased: demo\n"
    assert quarantined(demo) == set()
    left = before[dead].difference(snapshot(demo.lab, dead, ssh))
    assert not left, "\n".join(left)


def test_the_heads_death_keeps_the_hosts_and_makes_ray_anew(demo: Demo) -> None:
    head, *workers = demo.hosts
    spare, running = demo.spare, demo.containers()
    with dead(demo, head):
        assert demo.timelock.json("resume", "demo")["state"] == "ACTIVE"
        assert set(demo.hosts) == {*workers, spare}
        assert kept(running, demo) == {(worker, "pause") for worker in workers}
        assert happened(demo) >= {(head, spare, "head lost: Ray is made anew on all hosts")}
        assert demo.submit("import ray; ray.init(); print(int(ray.cluster_resources()['GPU']))") == "6\n"
    demo.timelock("host", "restore", head)
    assert quarantined(demo) == set()


def test_a_host_puts_its_mesh_right_by_itself(demo: Demo) -> None:
    worker = demo.hosts[-1]
    repaired = f"journalctl -u timelock-mesh@{demo.name} -o cat | grep -c 'repaired$' || :"
    before = int(demo.on(worker, repaired))
    demo.on(worker, f"{demo.docker} kill pause >/dev/null")
    until(lambda: int(demo.on(worker, repaired)) > before, "the mesh's unit has made everything anew")
    demo.on(worker, f"pkill -9 -x wireguard-go; systemctl restart timelock-docker@{demo.name}")
    until(lambda: int(demo.on(worker, repaired)) > before + 1, "the interface is there again")
    assert demo.timelock.json("resume", "demo")["state"] == "ACTIVE"
    assert demo.submit("import ray; ray.init(); print(int(ray.cluster_resources()['GPU']))") == "6\n"


def test_with_no_host_left_that_fits_the_booking_waits_and_goes_on_when_one_is_back(demo: Demo) -> None:
    hosts, lost, spare = demo.hosts, demo.hosts[1], demo.spare
    with dead(demo, lost, spare):
        refused = demo.timelock("resume", "demo", code=4)
        assert refused.problems[0] == "expected 6 free GPUs that fit, found 4 together"
        assert "unreachable" in refused.err
        assert f"bring back hosts that were left out ({', '.join(sorted([lost, spare]))})" in refused.err
        assert demo.state == "PROVISIONING"
    assert demo.timelock.json("resume", "demo")["state"] == "ACTIVE"
    assert demo.hosts == hosts
    assert quarantined(demo) == set()


def test_a_changed_host_key_stops_the_booking_until_a_person_decides(demo: Demo) -> None:
    head, strange, other = demo.hosts
    spare, running = demo.spare, demo.containers()
    demo.on(strange, CHANGE_KEY)
    refused = demo.book(code=5)
    assert refused.problems[0].startswith(f"{strange}: connect: ")
    assert "the SSH host key changed: pinned SHA256:" in refused.problems[0]
    assert "timelock resume demo" in refused.advice
    assert demo.state == "QUARANTINED"
    assert demo.timelock.json("resume", "demo")["state"] == "ACTIVE"
    assert set(demo.hosts) == {head, other, spare}
    assert kept(running, demo) == {place for place in running if place[0] != strange}
    assert demo.timelock("host", "restore", strange, code=5).problems[0].startswith(f"{strange}: connect: ")
    demo.on(strange, RESTORE_KEY)
    demo.timelock("host", "restore", strange)
    assert quarantined(demo) == set()


@contextmanager
def dead(demo: Demo, *hosts: str) -> Iterator[None]:
    """These hosts are without power while the block runs."""
    for host in hosts:
        demo.lab.kill_host(host)
    try:
        yield
    finally:
        for host in hosts:
            demo.lab.start_host(host)


def kept(running: Mapping[tuple[str, str], str], demo: Demo) -> set[tuple[str, str]]:
    """The containers that are the same as before."""
    now = demo.containers()
    return {place for place, identity in running.items() if now.get(place) == identity}


def happened(demo: Demo) -> set[tuple[str, str, str]]:
    """Which host took whose place, and what that meant."""
    return {(event["old"], event["new"], event["reason"]) for event in demo.events()}


def quarantined(demo: Demo) -> set[str]:
    return {host["host"] for host in demo.timelock.json("host", "list")["quarantined"]}
