"""A lab host is what a supplier's machine is: its own identity, disk, engine, and a reboot that it comes back from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from provision.lab.host import LabHost, hosts_file
from provision.lab.lab import Lab
from provision.lab.network import Network
from tests.conftest import LabMaker
from tests.fakes.killed import steps
from tests.fakes.ssh import Ssh
from tests.fakes.wait import until


def test_a_host_knows_itself_by_name_and_nobody_else(tmp_path: Path) -> None:
    host = LabHost(name="lab-a2", index=2, gpus=0, image=tmp_path, place=tmp_path, network=Network(number=9))
    assert hosts_file(host).splitlines()[-1] == "10.77.9.12 lab-a2"
    assert "10.77.9.11" not in hosts_file(host)


@pytest.mark.lab
def test_hosts_boot_whole(lab: Lab, ssh: Ssh) -> None:
    for host in lab.hosts:
        state = ssh.run(lab, host.name, "systemctl is-system-running --wait").stdout
        assert state == "running\n", ssh.run(lab, host.name, "systemctl --failed --no-legend").stdout


@pytest.mark.lab
def test_no_two_hosts_share_an_identity(lab: Lab, ssh: Ssh) -> None:
    files = ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub", "/sys/class/net/eth0/address")
    command = f"cat {' '.join(files)} /proc/sys/kernel/random/boot_id"
    lines = [ssh(lab, host.name, command).splitlines() for host in lab.hosts]
    for same in zip(*lines, strict=True):
        assert len(set(same)) == len(lab.hosts)


@pytest.mark.lab
def test_the_disk_is_a_file_system_of_its_own(lab: Lab, ssh: Ssh) -> None:
    host = lab.hosts[0].name
    sources = ssh(lab, host, "findmnt -no FSTYPE,SOURCE /srv; findmnt -no FSTYPE,SOURCE /var/lib/docker").split()
    assert sources[0] == sources[2] == "ext4"
    assert ssh(lab, host, "docker info -f '{{.Driver}}'") == "overlay2\n"


@pytest.mark.lab
def test_hosts_reach_each_other(lab: Lab, ssh: Ssh) -> None:
    one, other = lab.hosts[:2]
    assert "1 received" in ssh(lab, one.name, f"ping -c 1 -W 2 {other.address}")


@pytest.mark.lab
def test_a_reboot_is_a_boot_with_the_same_files_and_a_clean_kernel(new_lab: LabMaker, ssh: Ssh) -> None:
    lab = new_lab()
    lab.up(hosts=1, gpus=1)
    (host,) = lab.hosts
    boot: Callable[[], str] = lambda: ssh.run(lab, host.name, "cat /proc/sys/kernel/random/boot_id").stdout  # noqa: E731
    first = boot()
    for path in ("/root/kept", "/srv/kept", "/run/lost"):
        ssh(lab, host.name, f"touch {path}")
    ssh(lab, host.name, "nft add table inet leftover; ip link add leftover type bridge")
    for _ in range(2):
        before = boot()
        ssh.run(lab, host.name, "systemctl reboot")
        until(lambda before=before: boot() not in ("", before), "the host has come back")
    assert ssh(lab, host.name, "ls /root/kept /srv/kept /run/lost 2>/dev/null; true") == "/root/kept\n/srv/kept\n"
    assert "leftover" not in ssh(lab, host.name, "nft list tables; ip link")
    assert ssh(lab, host.name, "test -c /dev/nvidia0 && docker info -f '{{.Driver}}'") == "overlay2\n"
    assert first != boot()


@pytest.mark.lab
def test_a_host_that_powers_off_is_down_and_leaves_no_process(new_lab: LabMaker, ssh: Ssh) -> None:
    lab = new_lab()
    lab.up(hosts=1, image="minimal")
    (host,) = lab.hosts
    ssh.run(lab, host.name, "systemctl poweroff")
    until(lambda: not host.alive(), "the host has ended")
    assert [one.state for one in lab.status().hosts] == ["down"]


@pytest.mark.lab
def test_hosts_live_as_well_where_version_2_control_groups_are_alone(new_lab: LabMaker, ssh: Ssh) -> None:
    lab = new_lab()
    steps(lab, "up", before="umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    (host,) = lab.hosts
    before = ssh(lab, host.name, "cat /proc/sys/kernel/random/boot_id")
    for _ in range(2):
        assert ssh(lab, host.name, "stat -f -c %T /sys/fs/cgroup") == "cgroup2fs\n"
        assert "not permitted" in ssh.run(lab, host.name, "mknod /root/gpu c 7 5; head -c 1 /root/gpu").stderr
        ssh.run(lab, host.name, "rm /root/gpu; systemctl reboot")
        until(lambda: ssh.run(lab, host.name, "cat /proc/sys/kernel/random/boot_id").stdout not in ("", before), "boot")
