"""OCI layouts: tiny trees, real tar and umoci, and builds that are killed on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.errors import MachineCannot
from provision.lab import layout
from provision.lab.layout import Image, Layer, Progress, Recipe, cached, manifest_digest

REPOSITORY = Path(__file__).parents[3]

builds = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("umoci") or not shutil.which("mmdebstrap"),
    reason="needs root, umoci, mmdebstrap",
)


def tree(work: Path, progress: Progress) -> Iterator[Layer]:
    root = work / "root"
    (root / "etc").mkdir(parents=True)
    (root / "dev").mkdir()
    (root / "dev" / "made-by-the-machine").write_text("x")
    (root / "etc" / "name").write_text("first")
    progress("first")
    yield Layer(title="first", root=root, paths=(".",))
    (root / "opt").mkdir()
    (root / "opt" / "second").write_text("second")
    yield Layer(title="second", root=root, paths=("opt",))


RECIPE = Recipe(
    reference="test/tiny:1", ingredients=("a",), config=("--config.user=7:7", "--config.cmd=/bin/true"), layers=tree
)


def silent(_: str) -> None:
    return None


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: replace(recipe, reference="test/tiny:2"),
        lambda recipe: replace(recipe, ingredients=("b",)),
        lambda recipe: replace(recipe, ingredients=("a", "b")),
        lambda recipe: replace(recipe, config=()),
    ],
)
def test_every_ingredient_counts(change: Callable[[Recipe], Recipe]) -> None:
    assert change(RECIPE).digest != RECIPE.digest
    assert change(RECIPE).folder != RECIPE.folder


def test_folder_is_one_name() -> None:
    assert RECIPE.folder == f"test-tiny-1-{RECIPE.digest[:16]}"


@builds
def test_image_holds_what_the_recipe_says(tmp_path: Path) -> None:
    said: list[str] = []
    image = cached(tmp_path, RECIPE, said.append)
    assert said == ["test/tiny:1: first", "test/tiny:1: layer: first", "test/tiny:1: layer: second"]
    manifest = blob(image, image.digest)
    config = blob(image, manifest["config"]["digest"])
    assert config["config"]["User"] == "7:7"
    assert config["config"]["Cmd"] == ["/bin/true"]
    assert config["config"]["StopSignal"] == "SIGTERM"
    assert [entry["created_by"] for entry in config["history"]] == ["first", "second"]
    assert image.compressed_bytes == sum(entry["size"] for entry in manifest["layers"])
    assert [names(image, entry["digest"]) for entry in manifest["layers"]] == [
        [".", "./dev", "./etc", "./etc/name"],
        ["opt", "opt/second"],
    ]


@builds
def test_layers_are_gzip(tmp_path: Path) -> None:
    """Docker 20.10 cannot unpack zstd."""
    image = cached(tmp_path, RECIPE, silent)
    types = {entry["mediaType"] for entry in blob(image, image.digest)["layers"]}
    assert types == {"application/vnd.oci.image.layer.v1.tar+gzip"}


@builds
def test_same_recipe_same_digest(tmp_path: Path) -> None:
    assert cached(tmp_path / "a", RECIPE, silent).digest == cached(tmp_path / "b", RECIPE, silent).digest


@builds
def test_second_time_nothing_is_built(tmp_path: Path) -> None:
    first = cached(tmp_path, RECIPE, silent)
    said: list[str] = []
    assert cached(tmp_path, RECIPE, said.append) == first
    assert said == []


@builds
def test_nothing_is_left_of_a_build_that_fails(tmp_path: Path) -> None:
    def broken(work: Path, progress: Progress) -> Iterator[Layer]:
        yield from tree(work, progress)
        raise MachineCannot("no more packages")

    with pytest.raises(MachineCannot, match="no more packages"):
        cached(tmp_path, replace(RECIPE, layers=broken), silent)
    assert visible(tmp_path) == []
    assert not list(tmp_path.glob(".partial-*"))


@builds
def test_a_killed_build_counts_for_nothing(tmp_path: Path) -> None:
    """SIGKILL after the first layer: no image, and the next build starts clean."""
    program = (
        "import os, pathlib, signal, sys\n"
        "from dataclasses import replace\n"
        "from tests.provision.lab.test_layout import RECIPE, tree\n"
        "from provision.lab.layout import cached\n"
        "def die(step): 'second' in step and os.kill(os.getpid(), signal.SIGKILL)\n"
        "cached(pathlib.Path(sys.argv[1]), RECIPE, die)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=REPOSITORY, timeout=60, check=False)
    assert killed.returncode == -9
    assert visible(tmp_path) == []
    assert list(tmp_path.glob(".partial-*"))
    assert cached(tmp_path, RECIPE, silent).layout.is_dir()
    assert not list(tmp_path.glob(".partial-*"))


@builds
def test_too_little_space_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "NEEDED_BYTES", 1 << 60)
    with pytest.raises(MachineCannot, match="GB free") as refusal:
        cached(tmp_path, RECIPE, silent)
    assert "TIMELOCK_CACHE" in refusal.value.next_step


@builds
def test_damaged_image_says_what_to_remove(tmp_path: Path) -> None:
    image = cached(tmp_path, RECIPE, silent)
    (image.layout / "index.json").write_text("{")
    with pytest.raises(MachineCannot, match="damaged") as refusal:
        cached(tmp_path, RECIPE, silent)
    assert str(image.layout.parent) in refusal.value.next_step


def test_layout_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"manifests": []}))
    with pytest.raises(MachineCannot, match="expected an OCI layout of one image"):
        manifest_digest(tmp_path)


def blob(image: Image, digest: str) -> dict[str, Any]:
    content = (image.layout / "blobs" / digest.replace(":", "/")).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest.removeprefix("sha256:")
    parsed: dict[str, Any] = json.loads(content)
    return parsed


def names(image: Image, digest: str) -> list[str]:
    with tarfile.open(image.layout / "blobs" / digest.replace(":", "/"), "r:gz") as archive:
        return archive.getnames()


def visible(place: Path) -> list[str]:
    return [path.name for path in place.iterdir() if not path.name.startswith(".")]
