"""What a host is given before its first boot, and keeps at each later one."""

import stat
from pathlib import Path

from provision.lab import furnish
from provision.lab.gpus import gpu_devices


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def identity(upper: Path) -> None:
    furnish.write_identity(upper, name="lab-a1", authorized_key="ssh-ed25519 AAAA operator\n")


def test_identity_is_private_and_stays(tmp_path: Path) -> None:
    identity(tmp_path)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    identity(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first
    assert mode(tmp_path / "root") == mode(tmp_path / "root/.ssh") == 0o700
    assert mode(tmp_path / "root/.ssh/authorized_keys") == mode(tmp_path / "etc/ssh/ssh_host_ed25519_key") == 0o600
    assert len((tmp_path / "etc/machine-id").read_text().strip()) == 32


def test_two_hosts_share_nothing_of_it(tmp_path: Path) -> None:
    identity(tmp_path / "one")
    identity(tmp_path / "two")
    for name in ("etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub"):
        assert (tmp_path / "one" / name).read_bytes() != (tmp_path / "two" / name).read_bytes()


def test_the_disk_is_large_sparse_and_made_once(tmp_path: Path) -> None:
    disk = tmp_path / "disk.ext4"
    furnish.make_disk(disk)
    made = disk.stat()
    assert made.st_size == furnish.DISK_BYTES
    assert made.st_blocks * 512 < made.st_size / 50
    furnish.make_disk(disk)
    assert disk.stat().st_mtime_ns == made.st_mtime_ns
    assert list(tmp_path.iterdir()) == [disk]


def test_hardware_names_every_gpu_once_and_only_settings_of_the_machine(tmp_path: Path) -> None:
    for _ in range(2):
        furnish.write_hardware(tmp_path, gpu_devices(2))
    assert (tmp_path / "etc/host-gpus").read_text() == "nvidia0 7 0\nnvidia1 7 1\nnvidiactl 7 128\n"
    keys = (tmp_path / "etc/host-sysctls").read_text().split()
    assert len(keys) == len(set(keys))
    assert not [key for key in keys if key.startswith("net/")]  # a host's network is its own


def test_no_host_is_told_of_the_machines_resolver(tmp_path: Path) -> None:
    furnish.write_network(tmp_path, hosts="127.0.0.1 localhost\n", package_proxy="http://10.77.0.1:3128")
    assert (tmp_path / "etc/resolv.conf").read_text() == "nameserver 127.0.0.1\n"
