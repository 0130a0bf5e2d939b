"""Nothing leaves a booking beside its mesh, and nothing reaches its hosts but what must."""

import json

import pytest

from tests.fakes.bookings import PORT, SSH, Demo
from tests.fakes.counters import Bridge, flood

pytestmark = pytest.mark.lab

MEGABYTES = 100

TRANSFER = f"""
import os, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At
ray.init(log_to_driver=False)
one, other = [node["NodeID"] for node in ray.nodes() if node["Resources"].get("CPU", 0) > 1][:2]

@ray.remote
def make():
    return os.urandom({MEGABYTES} * 10**6)

@ray.remote
def size(data):
    return len(data)

made = make.options(scheduling_strategy=At(one, soft=False)).remote()
print(ray.get(size.options(scheduling_strategy=At(other, soft=False)).remote(made)))
"""

REACH = """
import errno, json, socket, sys
def attempt(address, kind):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, kind) as one:
            one.settimeout(5)
            one.connect((address, 22))
            return "open"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
all_of_them = [(name, kind, address) for address in sys.argv[1:] for name, kind in kinds.items()]
print(json.dumps({f"{name} {address}": attempt(address, kind) for name, kind, address in all_of_them}))
"""
RAW = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"
RESOLVE = "import socket; socket.getaddrinfo('example.org', 443)"
INTERNET = ("1.1.1.1", "2606:4700:4700::1111")
METADATA = "169.254.169.254"


@pytest.fixture
def bridge(demo: Demo) -> Bridge:
    watch = Bridge(namespace=demo.lab.hosts[0].network.name)
    watch.watch([demo.lab.host(name).address for name in demo.hosts], PORT)
    return watch


def test_an_object_goes_between_hosts_inside_the_mesh_only(demo: Demo, bridge: Bridge) -> None:
    assert demo.submit(TRANSFER).splitlines()[-1] == str(MEGABYTES * 10**6)
    counted = bridge.counted()
    assert counted["other"] == 0
    assert counted["mesh"] > MEGABYTES * 10**6


def test_from_inside_a_container_nothing_but_mesh_addresses_can_be_reached(demo: Demo) -> None:
    controller = demo.lab.hosts[0].network.controller
    addresses = [controller, *(host.address for host in demo.lab.hosts), METADATA, *INTERNET, "fe80::1", "172.17.0.1"]
    for host in demo.hosts:
        found = json.loads(demo.inside(host, "python", "-c", REACH, *addresses))
        assert set(found.values()) <= {"ENETUNREACH", "EADDRNOTAVAIL", "EINVAL"}, (host, found)
        routes = demo.in_mesh(host, "ip route show; ip -6 route show").splitlines()
        assert all(line.split()[0].startswith(("10.88.", "10.90.")) for line in routes), (host, routes)
        peers = json.loads(demo.inside(host, "python", "-c", REACH, "10.88.0.1", "10.88.0.2", "10.88.0.3"))
        assert {outcome for what, outcome in peers.items() if what.startswith("tcp")} == {"ECONNREFUSED"}


def test_from_inside_a_container_there_is_no_way_around_it_either(demo: Demo) -> None:
    worker = demo.hosts[1]
    tried = f"python -c {RAW!r} 2>&1; python -c {RESOLVE!r} 2>&1; id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status"
    said = demo.inside(worker, "sh", "-c", tried)
    assert "PermissionError" in said
    assert "gaierror" in said
    assert said.splitlines()[-3] == "1000"
    assert said.splitlines()[-2:] == ["CapEff:\t0000000000000000", "NoNewPrivs:\t1"]


@pytest.mark.parametrize("who", ["management", "stranger", "peer", "stranger over IPv6"])
def test_of_all_ports_only_what_must_be_open_is(demo: Demo, ssh: SSH, who: str) -> None:
    head, worker, _ = demo.hosts
    sender = {"management": None, "peer": head}.get(who, demo.spare)
    target = demo.lab.host(worker)
    source = demo.lab.hosts[0].network.controller if sender is None else demo.lab.host(sender).address
    address = target.address
    if who.endswith("IPv6"):
        source, address = (_link_local(demo, host) for host in (demo.spare, worker))
        address += "%eth0"
    found = flood(demo.lab, worker, source=source, address=address, ssh=ssh, sender=sender)
    assert found.complete
    assert found.passed == {"management": {("tcp", 22)}, "peer": {("udp", PORT)}}.get(who, set())


def test_hosts_answer_echo_and_listen_to_nothing_of_ray(demo: Demo) -> None:
    for host in demo.hosts:
        address = demo.lab.host(host).address
        assert "1 received" in demo.on(demo.spare, f"ping -c 1 -W 5 {address}")
        listening = demo.on(host, "ss -Hltn | awk '{print $4}'").split()
        assert {where.rpartition(":")[2] for where in listening if not where.startswith("127.")} == {"22"}


def _link_local(demo: Demo, host: str) -> str:
    shown = demo.on(host, "ip -6 -o address show dev eth0 scope link")
    if not shown:
        pytest.skip(f"{host} has no IPv6 address")
    return shown.split()[3].partition("/")[0]
