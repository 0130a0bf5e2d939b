"""What of the machine's mounts a lab host keeps."""

from pathlib import Path

from provision.lab.launcher import foreign_mounts

MOUNTS = r"""
22 27 0:21 / /proc rw - proc proc rw
23 27 0:22 / /sys rw - sysfs sysfs rw
24 27 0:6 / /dev rw - devtmpfs devtmpfs rw
27 1 254:0 / / rw - ext4 /dev/vda rw
28 27 0:25 / /run rw - tmpfs tmpfs rw
29 28 0:25 /netns /run/netns rw - tmpfs tmpfs rw
30 29 0:4 net:[1] /run/netns/tl-lab0 rw - nsfs nsfs rw
31 29 0:4 net:[2] /run/netns/tl-lab1 rw - nsfs nsfs rw
32 27 8:1 / /mnt/a\040disk rw - ext4 /dev/sdb1 rw
33 27 8:2 / /srv/labs rw - ext4 /dev/sdc1 rw
34 33 0:40 / /srv/labs/merged rw - overlay overlay rw
35 24 0:41 / /dev/shm rw - tmpfs tmpfs rw
""".strip()


def test_only_what_the_host_stands_on_is_kept() -> None:
    needed = (Path("/srv/labs/dev/hosts/dev-a1"), Path("/run/netns/tl-lab0"), Path("/usr/bin/systemd-nspawn"))
    foreign = foreign_mounts(MOUNTS, needed)
    assert [str(path) for path in foreign] == ["/srv/labs/merged", "/mnt/a disk", "/run/netns/tl-lab1"]
