"""The two container images of a booking: Ray's, and that of the pause container which holds its network.

Says what goes in; `rootfs` and `pypackages` fill the trees, `layout` makes images of them and keeps those.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from provision.lab import pypackages, rootfs
from provision.lab.layout import Image, Layer, Progress, Recipe, cached
from provision.lab.sources import SUITE

RAY_PACKAGES = ("python3", "python-is-python3")
RAY_REFERENCE = "timelock/ray:2.60-py311"
PAUSE_REFERENCE = "timelock/pause:1"
RAY_LOCK = Path(__file__).with_name("ray-requirements.lock")

RAY_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": f"/home/{rootfs.USER}",
    "USER": rootfs.USER,
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
# As process 1 a shell ignores what it does not trap; `wait` lets the trap run at once.
PAUSE_COMMAND = "trap 'exit 0' TERM INT; sleep 2147483647 & wait"


def ray_image(images: Path, progress: Progress) -> Image:
    """Give the Ray image, built below `images` (Home.images) if it is not there; raises MachineCannot."""
    return cached(images / "oci", _ray_recipe(), progress)


def pause_image(images: Path, progress: Progress) -> Image:
    """Give the image of the container that holds a booking's network; raises MachineCannot."""
    return cached(images / "oci", _pause_recipe(), progress)


def _ray_recipe() -> Recipe:
    environment = tuple(f"--config.env={name}={value}" for name, value in RAY_ENVIRONMENT.items())
    user = f"{rootfs.UID}:{rootfs.UID}"
    return Recipe(
        reference=RAY_REFERENCE,
        ingredients=(*RAY_PACKAGES, *rootfs.RECIPE, *pypackages.RECIPE, RAY_LOCK.read_text()),
        config=(
            *environment,
            f"--config.user={user}",
            f"--config.workingdir=/home/{rootfs.USER}",
            "--config.cmd=python3",
        ),
        layers=_ray_layers,
    )


def _ray_layers(work: Path, progress: Progress) -> Iterator[Layer]:
    root = work / "root"
    progress("Debian base")
    (work / "packages").write_text(rootfs.debian(root, RAY_PACKAGES))
    rootfs.add_user(root)
    pypackages.compile_all(root, f"/usr/lib/python{pypackages.PYTHON}", "/usr/lib/python3")
    yield Layer(title=f"Debian {SUITE}, Python {pypackages.PYTHON}", root=root, paths=(".",))
    progress("Ray and its Python packages")
    pypackages.install(root, RAY_LOCK)
    pypackages.compile_all(root, f"/{pypackages.SITE}")
    yield Layer(title="Ray", root=root, paths=("usr/local",))


def _pause_recipe() -> Recipe:
    command = tuple(f"--config.cmd={word}" for word in ("/bin/sh", "-c", PAUSE_COMMAND))
    return Recipe(
        reference=PAUSE_REFERENCE,
        ingredients=("busybox-static", *rootfs.RECIPE),
        config=("--config.env=PATH=/bin", "--config.user=65534:65534", *command),
        layers=_pause_layers,
    )


def _pause_layers(work: Path, progress: Progress) -> Iterator[Layer]:
    root = work / "root"
    progress("BusyBox")
    (work / "packages").write_text(rootfs.busybox(root, work / "unpacked"))
    yield Layer(title="BusyBox", root=root, paths=(".",))
