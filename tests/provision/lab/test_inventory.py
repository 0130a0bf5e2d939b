"""The lab's inventory, read as a supplier's would be."""

from pathlib import Path

import pytest
import yaml

from provision.lab.host import LabHost
from provision.lab.inventory import inventory, machine_share
from provision.lab.network import Network
from provision.supply.inventory import read_inventory

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM5pg4SpNAzqubhtH0Eum5xubNVFGpg4AT+FgAD+baRZ"
CREATED_NS = 1_700_000_000_000_000_000


@pytest.fixture
def hosts(tmp_path: Path) -> tuple[LabHost, ...]:
    made = []
    for index in (1, 2, 3, 4):
        place = tmp_path / f"lab-a{index}"
        (place / "upper/etc/ssh").mkdir(parents=True)
        (place / "upper/etc/ssh/ssh_host_ed25519_key.pub").write_text(f"{KEY} lab-a{index}\n")
        made.append(
            LabHost(name=place.name, index=index, gpus=2, image=tmp_path, place=place, network=Network(number=5))
        )
    return tuple(made)


def written(hosts: tuple[LabHost, ...], folder: Path, *, ca_file: Path | None = None) -> Path:
    content = inventory(
        hosts, key_file=folder / "key", ca_file=ca_file, created_ns=CREATED_NS, cpus=2, memory_bytes=4 * 2**30
    )
    (folder / "inventory.yaml").write_text(yaml.safe_dump(content))
    return folder / "inventory.yaml"


def test_it_reads_as_supply_with_every_fact_of_the_hosts(hosts: tuple[LabHost, ...], tmp_path: Path) -> None:
    supply = read_inventory(written(hosts, tmp_path, ca_file=tmp_path / "ca.crt"))
    assert [host.name for host in supply.hosts] == ["lab-a1", "lab-a2", "lab-a3", "lab-a4"]
    for host in supply.hosts:
        assert host.host_key == KEY
        assert host.management == ("10.77.5.1/32",)
        assert host.user == "root"
        assert [gpu.device for gpu in host.gpus] == ["/dev/nvidia0", "/dev/nvidia1"]
    assert len({gpu.uuid for host in supply.hosts for gpu in host.gpus}) == 8
    assert supply.registry is not None
    assert supply.registry.address == "10.77.5.1:5000"


def test_hosts_differ_in_price_and_distance_and_all_fit_the_common_request(
    hosts: tuple[LabHost, ...], tmp_path: Path
) -> None:
    supply = read_inventory(written(hosts, tmp_path))
    assert len({host.price_micros_per_gpu_hour for host in supply.hosts}) == 4
    assert all(host.region == "eu" and (host.tier or 0) >= 3 for host in supply.hosts)
    worst = max(supply.rtt_ns(one, other) for one in supply.hosts for other in supply.hosts)
    assert 0 < worst <= 5_000_000


def test_a_lab_without_registry_names_none(hosts: tuple[LabHost, ...], tmp_path: Path) -> None:
    assert read_inventory(written(hosts, tmp_path)).registry is None


def test_the_same_lab_gives_the_same_bytes(hosts: tuple[LabHost, ...], tmp_path: Path) -> None:
    assert written(hosts, tmp_path).read_bytes() == written(hosts, tmp_path).read_bytes()


def test_a_host_offers_no_more_than_the_machine_has() -> None:
    cpus, memory_bytes = machine_share()
    assert cpus >= 1
    assert memory_bytes % 2**30 == 0
