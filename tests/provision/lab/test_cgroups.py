"""Hierarchies as machines mount them, and groups made, filled, killed and removed."""

import subprocess
from pathlib import Path

import pytest

from provision.errors import MachineCannot
from provision.lab.cgroups import Group, hierarchies
from tests.fakes.wait import until

VERSION_2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_version_2_alone_is_one_hierarchy() -> None:
    (only,) = hierarchies(VERSION_2)
    assert (only.mount, only.version) == (Path("/sys/fs/cgroup"), 2)


def test_in_a_hybrid_version_2_comes_first() -> None:
    found = hierarchies(HYBRID)
    assert [one.mount.name for one in found] == ["unified", "cpu,cpuacct", "devices", "systemd"]
    assert found[1].controllers == {"cpu", "cpuacct"}


def test_version_1_alone_is_refused_with_the_mount_that_helps() -> None:
    with pytest.raises(MachineCannot, match="version 2") as error:
        hierarchies(HYBRID.replace("cgroup2", "cgroup"))
    assert "mount -t cgroup2" in error.value.next_step


@pytest.mark.lab
def test_killing_a_group_ends_what_is_below_it_and_leaves_no_group() -> None:
    group = Group(name="timelock-test-cgroups/inner", hierarchies=hierarchies())
    outer = Group(name="timelock-test-cgroups", hierarchies=group.hierarchies)
    group.create()
    try:
        with subprocess.Popen(["sleep", "600"]) as process:
            for file in group.procs_files():
                file.write_text(str(process.pid))
            assert group.alive()
            assert outer.alive()
            outer.kill()
            assert process.wait() == -9
        assert not outer.alive()
    finally:
        outer.remove()
    assert not any((one.mount / outer.name).exists() for one in outer.hierarchies)


@pytest.mark.lab
def test_what_is_not_there_is_not_alive_and_is_removed_without_complaint() -> None:
    group = Group(name="timelock-test-none", hierarchies=hierarchies())
    group.remove()
    until(lambda: not group.alive(), "a group that is not there has no process", 1)
