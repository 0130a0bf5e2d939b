"""Roles on real hosts, over SSH: they come, stay, are repaired and go without a trace."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab.lab import Lab
from stacks.worker import Done, Job, Step, WorkerClient, WorkerFailed
from tests.conftest import LabMaker
from tests.provision.deploys.hosts import ROLES, Hosts, each, start, with_worker

pytestmark = pytest.mark.lab

# What a booking could leave behind: files, users, units, rules, interfaces, mounts, processes, namespaces.
SNAPSHOT = r"""
find /etc /srv /usr/local /var/lib /opt /root -xdev \( -path /srv/docker -o -path /var/lib/docker \
  -o -path '/var/lib/containerd/*' -o -path /var/lib/systemd \) -prune -o \( -type f -exec sha256sum {} + \) -o -print
ls /run/timelock 2>&1; nft -s list ruleset; ip -br link | cut -d' ' -f1; grep timelock/ /proc/mounts | grep -v overlay
ctr namespaces ls -q; systemctl list-units --all --plain --no-legend 'timelock*'; pgrep -a dockerd | cut -d' ' -f2-
sysctl net.core.somaxconn
"""


@pytest.fixture
def hosts(lab: Lab, tmp_path: Path) -> Hosts:
    return Hosts(lab, tmp_path)


@pytest.fixture
def tidy(hosts: Hosts) -> Iterator[Hosts]:
    """Hosts that are cleared afterwards, whatever became of the test."""
    yield hosts

    async def clear() -> None:
        async with await start() as client:
            for booking, slot in (("one", 0), ("two", 1)):
                await remove(client, hosts, booking, slot)

    with_worker(clear())


def jobs(hosts: Hosts, verb: str, booking: str, slot: int = 0) -> list[Job]:
    return [hosts.job(verb, hosts.names[0], role, booking, slot) for role in ROLES]


async def remove(client: WorkerClient, hosts: Hosts, booking: str, slot: int = 0) -> list[Done]:
    return await each(client, jobs(hosts, "remove", booking, slot)[::-1])


async def output(client: WorkerClient, hosts: Hosts, text: str) -> str:
    done = await client.submit(hosts.command(hosts.names[0], text))
    return str(done.outputs["stdout"])


async def drift(client: WorkerClient, hosts: Hosts, booking: str, slot: int = 0) -> list[str]:
    found = await asyncio.gather(*(client.submit(job) for job in jobs(hosts, "observe", booking, slot)))
    return [change for done in found for change in done.changes]


def test_roles_come_and_go_without_a_trace(tidy: Hosts) -> None:
    async def story() -> None:
        async with await start() as client:
            before = await output(client, tidy, SNAPSHOT)
            steps: list[Step] = []
            first = await each(client, jobs(tidy, "apply", "one"), steps)
            assert all(done.changes for done in first)
            assert {step.state for step in steps} == {"start", "changed", "unchanged"}
            again = await each(client, jobs(tidy, "apply", "one"))
            assert [done.changes for done in again] == [()] * len(ROLES)
            assert [done.outputs for done in again] == [done.outputs for done in first]
            assert await drift(client, tidy, "one") == []
            engine = "docker -H unix:///run/timelock/one.sock info -f '{{.DockerRootDir}} {{.SecurityOptions}}'"
            info = await output(client, tidy, engine)
            assert info.startswith("/srv/timelock/one/1000000000.1000000000")
            assert "userns" in info
            await remove(client, tidy, "one")
            assert (await output(client, tidy, SNAPSHOT)).splitlines() == before.splitlines()
            assert [done.changes for done in await remove(client, tidy, "one")] == [()] * len(ROLES)

    with_worker(story())


def test_two_bookings_share_a_host(tidy: Hosts) -> None:
    async def story() -> None:
        async with await start() as client:
            before = await output(client, tidy, SNAPSHOT)
            for booking, slot in (("one", 0), ("two", 1)):
                await each(client, jobs(tidy, "apply", booking, slot))
            assert await drift(client, tidy, "one") == await drift(client, tidy, "two", 1) == []
            await remove(client, tidy, "one")
            assert await drift(client, tidy, "two", 1) == []
            sockets = await output(client, tidy, "cd /run/timelock && ls -d *.sock")
            assert sockets == "two.sock\n"
            await remove(client, tidy, "two", 1)
            assert (await output(client, tidy, SNAPSHOT)).splitlines() == before.splitlines()

    with_worker(story())


MEDDLING = (
    (
        "nft delete rule inet timelock input handle"
        " $(nft -a list table inet timelock | sed -n 's/.*one: wireguard.*handle //p')",
        "table inet timelock: missing: ip saddr",
    ),
    ("systemctl stop timelock-docker@one", "unit timelock-docker@one.service: is inactive"),
    ("systemctl disable -q timelock-firewall", "unit timelock-firewall.service: is disabled"),
    ("echo >> /etc/timelock/firewall.nft", "file /etc/timelock/firewall.nft: content differs"),
    ("sysctl -q net.core.somaxconn=77", "sysctl net.core.somaxconn: is 77, should be 4097"),
    (
        "chmod 644 /var/lib/timelock-host/bookings/one/wireguard-0.key",
        "key /var/lib/timelock-host/bookings/one/wireguard-0.key: is 644",
    ),
    ("sed -i /tl-one/d /etc/subuid", "user tl-one: ids differ"),
)


def test_drift_is_named_and_repaired(tidy: Hosts) -> None:
    async def story() -> None:
        async with await start() as client:
            await each(client, jobs(tidy, "apply", "one"))
            for meddling, expected in MEDDLING:
                assert await output(client, tidy, f"{meddling} && echo done") == "done\n"
                found = await drift(client, tidy, "one")
                assert any(change.startswith(expected) for change in found), found
                done = await each(client, jobs(tidy, "apply", "one"))
                assert set(found) <= {change for one in done for change in one.changes}
            assert await drift(client, tidy, "one") == []

    with_worker(story())


def test_a_session_that_breaks_is_opened_again_once(hosts: Hosts) -> None:
    cut = (
        "pid=$$; while [ \"$(cat /proc/$pid/comm)\" != sshd ]; do pid=$(cut -d' ' -f4 /proc/$pid/stat); done;"
        " kill -9 $pid; sleep 5"
    )

    async def story() -> None:
        async with await start() as client:
            once = f"[ -e /run/cut ] && {{ rm /run/cut; echo again; exit; }}; touch /run/cut; {cut}"
            assert await output(client, hosts, once) == "again\n"
            with pytest.raises(WorkerFailed) as failure:
                await output(client, hosts, cut)
            assert failure.value.kind == "unreachable"
            assert await output(client, hosts, "echo fine") == "fine\n"

    with_worker(story())


def test_a_cancelled_command_ends_on_the_host(hosts: Hosts) -> None:
    async def story() -> None:
        async with await start() as client:
            job = hosts.command(hosts.names[0], "touch /run/begun; sleep 4242")
            task = asyncio.create_task(client.submit(job))
            other = await start()
            async with other:
                await output(other, hosts, "until [ -e /run/begun ]; do :; done; rm /run/begun")
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert await output(client, hosts, "pgrep -f 'sleep 424[2]' || echo none") == "none\n"

    with_worker(story())


def test_what_stands_in_the_way_is_told_by_kind(hosts: Hosts, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    changed = tmp_path / "changed"
    first, second = hosts.names[:2]
    keys = dict(line.split(" ", 1) for line in Path(hosts.connection(first).known_hosts_file).read_text().splitlines())
    changed.write_text(f"{hosts.connection(first).address} {keys[hosts.connection(second).address]}\n")
    cases: list[tuple[str, dict[str, object]]] = [
        ("host_key", {"known_hosts_file": str(empty)}),
        ("host_key", {"known_hosts_file": str(changed)}),
        ("auth", {"key_file": str(empty)}),
        ("auth", {"user": "nobody"}),
        ("unreachable", {"port": 1, "connect_timeout_seconds": 2}),
    ]

    async def story() -> None:
        async with await start() as client:
            for kind, connection in cases:
                with pytest.raises(WorkerFailed) as failure:
                    await client.submit(hosts.command(first, "id", connection=connection))
                assert failure.value.kind == kind
                assert failure.value.next_step

    with_worker(story())


def test_the_firewall_and_the_engine_are_there_after_a_reboot(new_lab: LabMaker, tmp_path: Path) -> None:
    lab = new_lab()
    lab.up(hosts=1, gpus=1)
    hosts = Hosts(lab, tmp_path)

    async def applied() -> None:
        async with await start() as client:
            await each(client, jobs(hosts, "apply", "one"))

    async def still_there() -> None:
        async with await start() as client:
            assert await drift(client, hosts, "one") == []

    with_worker(applied())
    lab.kill_host(hosts.names[0])
    lab.start_host(hosts.names[0])
    with_worker(still_there())
