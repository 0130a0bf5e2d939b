"""The two images of a booking: what their recipes say, and what the built images do."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.home import Home
from provision.lab import oci, pypackages
from provision.lab.layout import Image
from provision.lab.pypackages import with_python

LOCKED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+) \\$", re.MULTILINE)


def test_lock_pins_ray_and_hashes_everything() -> None:
    text = oci.RAY_LOCK.read_text()
    versions = dict(LOCKED.findall(text))
    assert versions["ray"] == "2.60.0"
    assert "numpy" in versions
    blocks = [block for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE) if block.strip("# \n")]
    assert all("--hash=sha256:" in block for block in blocks)


def test_lock_names_no_place_on_the_network() -> None:
    assert "://" not in oci.RAY_LOCK.read_text()


def test_lock_answers_what_is_asked_for() -> None:
    asked = oci.RAY_LOCK.with_suffix(".in").read_text().splitlines()
    names = {line.split("[")[0].split("=")[0] for line in asked if line and not line.startswith("#")}
    assert names <= set(dict(LOCKED.findall(oci.RAY_LOCK.read_text())))


def test_reference_names_the_locked_version() -> None:
    ray = dict(LOCKED.findall(oci.RAY_LOCK.read_text()))["ray"]
    python = pypackages.PYTHON.replace(".", "")
    assert f"timelock/ray:{'.'.join(ray.split('.')[:2])}-py{python}" == oci.RAY_REFERENCE


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (b"#!/home/x/.venv/bin/python\nimport ray\n", b"#!/usr/bin/python3\nimport ray\n"),
        (b"#!/bin/sh\n'''exec' /a/python\n", b"#!/bin/sh\n'''exec' /a/python\n"),
        (b"\x7fELF\x02python", b"\x7fELF\x02python"),
        (b"", b""),
    ],
)
def test_scripts_run_by_the_trees_python(script: bytes, expected: bytes) -> None:
    assert with_python(script) == expected


@pytest.fixture(scope="module")
def pause(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with unpacked(tmp_path_factory.mktemp("pause"), oci.pause_image(images(), lambda step: None)) as root:
        yield root


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with unpacked(tmp_path_factory.mktemp("ray"), oci.ray_image(images(), lambda step: None)) as root:
        yield root


def images() -> Path:
    if os.geteuid() != 0 or not all(map(shutil.which, ("umoci", "mmdebstrap"))):
        pytest.skip("building an image needs root, umoci and mmdebstrap")
    return Home.from_env().images


@contextmanager
def unpacked(place: Path, image: Image) -> Iterator[Path]:
    """Unpack an image for a while: the trees are too large for what pytest keeps."""
    subprocess.run(["umoci", "unpack", "--image", f"{image.layout}:latest", place / "bundle"], check=True, timeout=300)
    yield place / "bundle" / "rootfs"
    shutil.rmtree(place)


@pytest.mark.lab
def test_pause_ends_at_once_on_sigterm(pause: Path) -> None:
    """As process 1, where the kernel drops every signal that is not handled."""
    process = subprocess.Popen(["unshare", "--pid", "--fork", "chroot", pause, "/bin/sh", "-c", oci.PAUSE_COMMAND])
    while not (waiting := [pid for pid in children(process.pid) if children(pid)]):
        assert process.poll() is None
    os.kill(waiting[0], signal.SIGTERM)
    assert process.wait(timeout=5) == 0


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.lab
def test_pause_holds_little(pause: Path) -> None:
    assert sum(path.lstat().st_size for path in pause.rglob("*")) < 3_000_000


@pytest.mark.lab
def test_ray_tree_carries_nothing_of_this_machine(ray: Path) -> None:
    for name in ("etc/apt/sources.list", "etc/hostname", "etc/resolv.conf", "etc/machine-id", "usr/local/bin/pip.conf"):
        assert not (ray / name).exists(), name
    assert not list((ray / "dev").iterdir())


@pytest.mark.lab
def test_ray_tree_gives_no_privileges(ray: Path) -> None:
    programs = [path for path in ray.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in programs if path.stat().st_mode & 0o6000]


@pytest.mark.lab
def test_ray_tree_is_compiled(ray: Path) -> None:
    """A read-only root cannot keep bytecode: it must be there, and be taken without a look at its source."""
    sources = [path for path in (ray / pypackages.SITE / "ray").rglob("*.py") if "thirdparty" not in str(path)]
    compiled = {path for path in (ray / pypackages.SITE / "ray").rglob("*.pyc")}
    missing = [path for path in sources if path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc" not in compiled]
    assert not missing
    assert all(path.read_bytes()[4:8] == b"\x01\x00\x00\x00" for path in compiled)


# $1 the tree, $2 what to do in it, as its user and with nothing but a loopback.
READ_ONLY = """set -e
ip link set lo up
mount --bind "$1" "$1"; cd "$1"; mount -o remount,bind,ro .
mount -t proc proc proc; mount -t tmpfs tmpfs tmp -o mode=1777; mount -t tmpfs tmpfs home/ray -o uid=1000
mount --bind /dev dev; mount -t tmpfs tmpfs dev/shm -o mode=1777
exec /usr/sbin/chroot . setpriv --reuid 1000 --regid 1000 --clear-groups --bounding-set=-all --no-new-privs bash -c "$2"
"""
CONTAINED = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--net")
JOB = "import ray; ray.init(); print('SQUARE', ray.get(ray.remote(lambda: 7 * 7).remote()))"
HEAD_AND_JOB = f"""set -e
ray start --head --node-ip-address 127.0.0.1 --num-cpus 1 >/dev/null
ray job submit --address http://127.0.0.1:8265 -- python3 -c "{JOB}" 2>&1
"""


@pytest.mark.lab
def test_ray_starts_read_only_and_powerless(ray: Path) -> None:
    """Head, dashboard and one job: on a read-only root, as uid 1000, with a loopback for a network."""
    words: list[str | Path] = [*CONTAINED, "bash", "-c", READ_ONLY, "bash", ray, HEAD_AND_JOB]
    done = subprocess.run(words, env=oci.RAY_ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert "SQUARE 49" in done.stdout, done.stdout + done.stderr
