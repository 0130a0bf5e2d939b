"""Where the kernel's file systems are, from /proc/self/mounts as different machines have it."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.gate import mounts

REPOSITORY = Path(__file__).parents[3]

HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/devices cgroup rw,devices 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""
UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\nbpf /sys/fs/bpf bpf rw,mode=700 0 0\n"
BLANK = "cgroup2 /mnt/a\\040b\\134c cgroup2 rw 0 0\n"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (HYBRID, "cgroup2", ["/sys/fs/cgroup/unified"]),
        (HYBRID, "bpf", []),
        (UNIFIED, "cgroup2", ["/sys/fs/cgroup"]),
        (UNIFIED, "bpf", ["/sys/fs/bpf"]),
        (BLANK, "cgroup2", ["/mnt/a b\\c"]),
    ],
)
def test_mounts_are_found(text: str, kind: str, expected: list[str]) -> None:
    assert mounts.parse(text, kind) == tuple(map(Path, expected))


def test_the_root_is_the_hierarchys_own(place_root: Path) -> None:
    assert place_root.stat().st_ino == mounts.ROOT_INODE
    assert not (place_root / "cgroup.type").exists()  # cgroup-v2: the root has none


def test_what_is_not_mounted_is_mounted(place_root: Path) -> None:
    words = f"""
umount --lazy --all --types cgroup2,bpf
exec {sys.executable} -m agent.cli gate --device 511:77 --mode observe --name mounts-test --seconds 0.1
"""
    apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c", words]  # the machine's mounts stay
    done = subprocess.run(apart, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("gate stands")
