from __future__ import annotations

from pathlib import Path

import pytest

from stacks.booking import BookingSpec, Connection, GpuSpec, HostSpec, Registry
from tests.fakes.hosts import FakeHosts

IMAGE = "registry.test/timelock/ray@sha256:" + "a" * 64
PAUSE_IMAGE = "registry.test/timelock/pause@sha256:" + "b" * 64


def host_spec(index: int) -> HostSpec:
    address = f"10.77.0.{10 + index}"
    return HostSpec(
        name=f"lab-a{index}",
        connection=Connection(address=address, key_file="/keys/id", known_hosts_file="/keys/known_hosts"),
        address=address,
        gpus=(GpuSpec(uuid=f"GPU-{index}-0", index=0, device="/dev/nvidia0"),),
        cpus=2,
        memory_bytes=10 * 10**9,
        mesh_index=index,
        management=("10.77.0.1/32",),
    )


def booking_spec(hosts: int = 2) -> BookingSpec:
    return BookingSpec(
        name="demo",
        slot=1,
        hosts=tuple(host_spec(index) for index in range(1, hosts + 1)),
        head="lab-a1",
        image=IMAGE,
        pause_image=PAUSE_IMAGE,
        registry=Registry(address="registry.test:5000", ca_pem="PEM"),
    )


@pytest.fixture
def spec() -> BookingSpec:
    return booking_spec()


@pytest.fixture
def hosts(tmp_path: Path) -> FakeHosts:
    return FakeHosts.make(tmp_path / "hosts")
