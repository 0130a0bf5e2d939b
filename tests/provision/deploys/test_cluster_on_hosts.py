"""Mesh, image and Ray on three real hosts without a stack: only as booked; what breaks is named, repaired, and goes.

What a booking makes of the same roles is in tests/provision/booking; this is for whoever works on the roles.
"""

import asyncio
from pathlib import Path

import pytest

from provision.lab.lab import Lab
from tests.provision.deploys.cluster import Cluster
from tests.provision.deploys.hosts import Hosts, start

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(600)]

INSIDE = (
    "exec ray python3 -c 'import socket, sys\n"
    "for where in sys.argv[1:]:\n"
    '    family = socket.AF_INET6 if ":" in where else socket.AF_INET\n'
    '    try: socket.socket(family, socket.SOCK_DGRAM).connect((where, 9)); print(where, "a way")\n'
    "    except OSError as error: print(where, error.strerror)' "
)
LEFT = (
    "ls -d /etc/systemd/system/timelock-mesh* /run/wireguard/* /var/lib/timelock-host/bookings 2>/dev/null;"
    " pgrep -a wireguard-go; ip -br link | cut -d' ' -f1"
)


def test_a_cluster_works_is_repaired_and_goes(lab: Lab, tmp_path: Path) -> None:
    hosts = Hosts(lab, tmp_path)

    async def story() -> None:
        async with await start() as client:
            cluster = Cluster(lab, hosts, client)
            before = [(await cluster.run(host, LEFT)).stdout for host in cluster.hosts]
            try:
                await cluster.apply()
                assert await cluster.drift() == []
                await works(cluster)
                await has_only_what_is_booked(cluster)
                await is_named_and_repaired(cluster)
                await survives_its_pause_container(cluster)
                await is_made_anew_with_its_head(cluster)
            finally:
                await cluster.remove()
            assert [(await cluster.run(host, LEFT)).stdout for host in cluster.hosts] == before

    asyncio.run(asyncio.wait_for(story(), 540))


async def works(cluster: Cluster) -> None:
    found = await cluster.examine()
    assert found.failures == ()
    assert found.accepted == tuple(cluster.hosts)
    assert found.worst_rtt_ns


async def has_only_what_is_booked(cluster: Cluster) -> None:
    """The mesh and nothing else can be reached; no capability, no writing, no device but the GPUs."""
    head, management = cluster.hosts[0], cluster.spec.hosts[0].management[0].partition("/")[0]
    others = f"{management} {cluster.spec.hosts[1].address} 192.0.2.1 169.254.169.254 2001:db8::1"
    said = (await cluster.docker(head, INSIDE + f"10.88.0.2 {others}")).splitlines()
    assert said[0] == "10.88.0.2 a way"
    assert said[1:] == [
        f"{where} {'Cannot assign requested address' if ':' in where else 'Network is unreachable'}"
        for where in others.split()
    ]
    status = await cluster.docker(head, "exec ray grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status")
    assert status.split()[1::2] == ["0000000000000000", "0000000000000000", "1", "2"]
    assert await cluster.docker(head, "exec ray touch /usr/file 2>&1") != ""
    devices = await cluster.docker(head, "exec ray sh -c 'ls /dev/nvidia[0-9]*'")
    assert devices.split() == [gpu.device for gpu in cluster.spec.hosts[0].gpus]


async def is_named_and_repaired(cluster: Cluster) -> None:
    first, second, third = cluster.hosts
    inside = f"nsenter -t {await cluster.docker(first, 'inspect -f {{.State.Pid}} pause')} -n"
    key = (await cluster.run(first, f"{inside} wg show tl0p0 peers")).stdout.split()[0]
    ids = [await cluster.docker(host, "inspect -f {{.Id}} ray") for host in (first, third)]
    await cluster.run(first, f"{inside} wg set tl0p0 peer {key} remove")
    await cluster.docker(second, "kill ray")
    found = sorted(await cluster.drift())
    assert len(found) == 2
    assert found[0].startswith(f"{first}: mesh: peer ")
    assert found[0].endswith(" missing on plane 0")
    assert found[1] == f"{second}: ray worker: not running (ended with status 137)"
    assert sorted(await cluster.apply()) == found
    assert await cluster.drift() == []
    assert [await cluster.docker(host, "inspect -f {{.Id}} ray") for host in (first, third)] == ids
    await works(cluster)


async def survives_its_pause_container(cluster: Cluster) -> None:
    """The unit on the host puts everything back, without anybody's help; an engine's restart changes nothing."""
    _, second, third = cluster.hosts
    socket = f"docker -H unix:///run/timelock/{cluster.spec.name}.sock"
    await cluster.docker(third, "kill pause")
    await cluster.until(third, f'journalctl -u timelock-mesh@{cluster.spec.name} -o cat | grep -q "repaired$"')
    await cluster.until(third, f'[ "$({socket} inspect -f "{{{{.State.Running}}}}" ray)" = true ]')
    await cluster.run(second, f"pkill -9 wireguard-go; systemctl restart timelock-docker@{cluster.spec.name}")
    await cluster.until(second, f'journalctl -u timelock-mesh@{cluster.spec.name} -o cat | grep -q "repaired$"')
    await cluster.until(
        third,
        f"sh /var/lib/timelock-host/bookings/{cluster.spec.name}/mesh/mesh.sh show "
        f"/var/lib/timelock-host/bookings/{cluster.spec.name}/mesh | grep -q ^interface",
    )
    assert await cluster.apply(("ray",)) in ([], [f"{third}: ray worker: not running: nothing listens on port 6380"])
    assert await cluster.drift() == []
    await works(cluster)


async def is_made_anew_with_its_head(cluster: Cluster) -> None:
    first, second, third = cluster.hosts
    await cluster.docker(first, "kill ray")
    changes = await cluster.apply()
    assert sorted(changes) == [
        f"{first}: ray head: not running (ended with status 137)",
        f"{second}: ray worker: the head was made anew",
        f"{third}: ray worker: the head was made anew",
    ]
    await works(cluster)
