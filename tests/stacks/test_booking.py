from __future__ import annotations

import base64
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stacks.booking import BookingSpec, Resource, resources, user_name
from stacks.roles import ROLES
from tests.stacks.conftest import IMAGE, PAUSE_IMAGE, booking_spec


def by_name(spec: BookingSpec) -> dict[str, Resource]:
    return {resource.name: resource for resource in resources(spec)}


def params(spec: BookingSpec, name: str) -> Any:
    return by_name(spec)[name].params


@given(st.integers(1, 12))
def test_one_resource_a_host_and_role_each_after_what_it_needs(hosts: int) -> None:
    seen: set[str] = set()
    for resource in resources(booking_spec(hosts)):
        assert set(resource.after) <= seen
        seen.add(resource.name)
    assert len(seen) == hosts * len(ROLES)


def test_roles_of_a_host_come_in_order(spec: BookingSpec) -> None:
    found = by_name(spec)
    for before, after in pairwise(ROLES):
        assert found[f"lab-a1.{after.name}"].needs == (f"lab-a1.{before.name}",)
    assert found["lab-a1.identity"].after == ()


def test_hosts_wait_for_each_other_in_two_places_only(spec: BookingSpec) -> None:
    crossing = {(resource.name, take.resource) for resource in resources(spec) for take in resource.takes}
    assert crossing == {
        ("lab-a1.mesh", "lab-a2.identity"),
        ("lab-a2.mesh", "lab-a1.identity"),
        ("lab-a2.ray", "lab-a1.ray"),
    }


def test_addresses_and_ports(spec: BookingSpec) -> None:
    mesh = params(replace(spec, planes=(0, 1)), "lab-a1.mesh")
    assert mesh["address"] == "10.88.0.1"
    assert mesh["hosts"] == {"lab-a1": "10.88.0.1", "lab-a2": "10.88.0.2"}
    first, second = mesh["planes"]
    assert (first["interface"], first["listen_port"], first["address"]) == ("tl1p0", 51823, "10.90.0.1")
    assert (second["interface"], second["listen_port"], second["address"]) == ("tl1p1", 51824, "10.91.0.1")
    assert second["peers"] == [
        {"host": "lab-a2", "endpoint": "10.77.0.12:51824", "allowed_ips": ["10.91.0.2/32", "10.88.0.2/32"]}
    ]


@given(st.integers(2, 30))
def test_no_two_peers_may_send_from_one_address(hosts: int) -> None:
    spec = booking_spec(hosts)
    made = by_name(spec)
    for host in spec.hosts:
        found: Any = made[f"{host.name}.mesh"].params
        peers = found["planes"][0]["peers"]
        allowed = [ip_network(net) for peer in peers for net in peer["allowed_ips"]]
        assert len(set(allowed)) == len(allowed) == 2 * (hosts - 1)
        assert not any(ip_address(f"10.88.0.{host.mesh_index}") in net for net in allowed)


def test_firewall_opens_only_ssh_from_management_and_planes_from_peers(spec: BookingSpec) -> None:
    assert params(replace(spec, planes=(0, 2)), "lab-a2.firewall") == {
        "booking": "demo",
        "management": ["10.77.0.1/32"],
        "ssh_port": 22,
        "peers": ["10.77.0.11"],
        "udp_ports": [51823, 51825],
    }


def test_ray_gets_the_limits_of_its_host(spec: BookingSpec) -> None:
    head, worker = params(spec, "lab-a1.ray"), params(spec, "lab-a2.ray")
    assert (head["role"], head["cpus"], worker["role"], worker["cpus"]) == ("head", 1, "worker", 2)
    assert head["cpu_limit"] == worker["cpu_limit"] == 2
    assert worker["head_address"] == head["address"] == "10.88.0.1"
    assert worker["gpus"] == [{"uuid": "GPU-2-0", "index": 0, "device": "/dev/nvidia0"}]
    assert worker["object_store_bytes"] < worker["shm_bytes"] < worker["memory_bytes"]


def test_images_are_fetched_early_and_by_digest(spec: BookingSpec) -> None:
    assert params(spec, "lab-a1.engine")["prefetch"] == [PAUSE_IMAGE, IMAGE]
    assert params(spec, "lab-a1.image")["references"] == [IMAGE]


def test_a_pair_shares_one_key_which_no_other_has() -> None:
    keys = [key for resource in resources(booking_spec(4)) for key in resource.keys]
    derived = {key: key.derive(b"secret") for key in keys}
    assert all(len(base64.b64decode(value)) == 32 for value in derived.values())
    assert Counter(Counter(derived.values()).values()) == {2: 6}  # 6 pairs, each key at its 2 ends
    assert not {key.derive(b"another") for key in keys} & set(derived.values())
    assert not {replace(key, generation=2).derive(b"secret") for key in keys} & set(derived.values())


def test_no_param_holds_a_key_or_an_output(spec: BookingSpec) -> None:
    for resource in resources(spec):
        for path in (*(key.path for key in resource.keys), *(take.path for take in resource.takes)):
            value: Any = resource.params
            for step in path[:-1]:
                value = value[step]
            assert value.get(path[-1]) is None


@given(st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True))
def test_a_user_name_fits(booking: str) -> None:
    assert user_name(booking).startswith("tl-")
    assert len(user_name(booking)) <= 31


def test_long_names_stay_apart() -> None:
    assert user_name("a" * 29) != user_name("a" * 30)
