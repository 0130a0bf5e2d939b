"""Makes OCI layouts from recipes and keeps them: one directory an image, found by the digest of its recipe.

An image is built beside its place and renamed there whole, so that a build which was killed leaves nothing that counts.
What goes into an image is said in `oci`; pushing it is the registry's business.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from provision.errors import MachineCannot
from provision.lab.rootfs import EPOCH
from provision.lab.sources import SUITE
from provision.lab.tool import cannot, require, run
from provision.lab.turn import only_one

RECIPE_VERSION = 1
NEEDED_BYTES = 3_000_000_000
STEP_TIMEOUT_SECONDS = 600.0
CREATED = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
# The same tree gives the same bytes; kernel file systems and device nodes are the engine's.
TAR_OPTIONS = (
    *("--sort=name", f"--mtime=@{EPOCH}", "--numeric-owner", "--format=gnu"),
    *("--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*"),
)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A finished image: what it is called, where its OCI layout lies, the digest of its manifest."""

    reference: str
    layout: Path
    digest: str
    compressed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Part of a tree that becomes one layer: `paths` seen from `root`."""

    title: str
    root: Path
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides an image's content, and how its layers are made, one after the other, in a work directory."""

    reference: str
    ingredients: tuple[str, ...]
    config: tuple[str, ...]
    layers: Callable[[Path, Progress], Iterator[Layer]]

    @property
    def digest(self) -> str:
        """Digest of all that goes in."""
        text = json.dumps([RECIPE_VERSION, platform.machine(), SUITE, self.reference, self.ingredients, self.config])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def folder(self) -> str:
        """The name of the image's place in the cache."""
        return f"{self.reference.replace('/', '-').replace(':', '-')}-{self.digest[:16]}"


def cached(place: Path, recipe: Recipe, progress: Progress) -> Image:
    """Give the recipe's image kept in `place`, built first if it is not there; raises MachineCannot."""
    done = place / recipe.folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not done.is_dir():
            with only_one(place / f".lock-{recipe.folder}"):
                if not done.is_dir():
                    _build(done, recipe, lambda step: progress(f"{recipe.reference}: {step}"))
    except OSError as error:
        raise cannot(f"image {recipe.reference}", error) from error
    return _read(done, recipe)


def manifest_digest(layout: Path) -> str:
    """The digest of the one image in an OCI layout; raises MachineCannot if it is damaged."""
    try:
        (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
        return str(entry["digest"])
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(layout, error) from error


def _build(done: Path, recipe: Recipe, progress: Progress) -> None:
    """Build beside `done`, then rename: what is left of a killed build is thrown away first."""
    partial = done.with_name(f".partial-{done.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _check(partial, recipe)
        _assemble(partial / "layout", recipe, recipe.layers(partial, progress), progress)
        for name in ("root", "unpacked"):
            shutil.rmtree(partial / name, ignore_errors=True)
        os.sync()  # the rename must not reach the disk before the blobs
        partial.rename(done)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(place: Path, recipe: Recipe) -> None:
    """Fail now rather than minutes later."""
    require("mmdebstrap", "umoci", "tar")
    if os.geteuid() != 0:
        raise MachineCannot(f"image {recipe.reference}: expected to be root", next_step="run it with sudo")
    free = shutil.disk_usage(place).free
    if free < NEEDED_BYTES:
        raise MachineCannot(
            f"{place}: expected {NEEDED_BYTES / 1e9:.0f} GB free for {recipe.reference}, found {free / 1e9:.1f} GB",
            next_step="free some space, or set TIMELOCK_CACHE to a directory of a larger disk",
        )


def _assemble(layout: Path, recipe: Recipe, layers: Iterator[Layer], progress: Progress) -> None:
    """Make the OCI layout; umoci compresses layers with gzip, which suits: Docker 20.10 fails on zstd."""
    tag = f"{layout}:latest"
    archive = layout.with_name("layer.tar")
    _umoci("init", "--layout", layout)
    _umoci("new", "--image", tag)
    for layer in layers:
        progress(f"layer: {layer.title}")
        tar = ("tar", "--create", f"--file={archive}", f"--directory={layer.root}", *TAR_OPTIONS, *layer.paths)
        run(tar, timeout_seconds=STEP_TIMEOUT_SECONDS)
        history = (f"--history.created={CREATED}", f"--history.created_by={layer.title}")
        _umoci("raw", "add-layer", "--image", tag, *history, archive)
        archive.unlink()
    settings = (f"--created={CREATED}", "--config.stopsignal=SIGTERM", *recipe.config)
    _umoci("config", "--image", tag, "--no-history", *settings)
    _umoci("gc", "--layout", layout)


def _umoci(*words: str | Path) -> None:
    run(["umoci", *words], timeout_seconds=STEP_TIMEOUT_SECONDS)


def _read(done: Path, recipe: Recipe) -> Image:
    layout = done / "layout"
    digest = manifest_digest(layout)
    try:
        manifest = json.loads((layout / "blobs" / digest.replace(":", "/")).read_text())
        size = sum(int(blob["size"]) for blob in manifest["layers"])
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(layout, error) from error
    return Image(reference=recipe.reference, layout=layout, digest=digest, compressed_bytes=size)


def _damaged(layout: Path, error: Exception) -> MachineCannot:
    return MachineCannot(
        f"{layout}: expected an OCI layout of one image, found it damaged: {error}",
        next_step=f"rm -r {layout.parent}, then try again: it is built anew",
    )
