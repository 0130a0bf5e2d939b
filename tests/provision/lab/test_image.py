"""Host images: what decides their place in the cache, and that a build which was cut short is not taken for one."""

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.errors import InvalidInput, MachineCannot
from provision.home import Home
from provision.lab.image import FLAVOURS, Recipe, host_image, recipe
from tests.fakes.wait import until

PLAIN = Recipe(flavour="minimal", packages=("dbus",), sources="deb http://a.example/debian bookworm main\n")
BUILD = """
from provision.home import Home
from provision.lab.image import host_image
host_image(Home.from_env(), "minimal", print)
"""
REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "change",
    [
        {"packages": ("dbus", "curl")},
        {"sources": "deb http://b.example/debian bookworm main\n"},
        {"settings": ('--aptopt=Acquire::Check-Date "false"',)},
    ],
)
def test_every_ingredient_is_in_the_digest(change: dict[str, tuple[str, ...]]) -> None:
    assert dataclasses.replace(PLAIN, **change).digest != PLAIN.digest  # type: ignore[arg-type]


def test_the_same_recipe_has_the_same_place() -> None:
    assert dataclasses.replace(PLAIN).folder == PLAIN.folder
    assert PLAIN.folder.startswith("host-minimal-")


def test_golden_holds_all_of_minimal() -> None:
    assert set(FLAVOURS["minimal"]) < set(FLAVOURS["golden"])


def test_an_unknown_flavour_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"expected one of golden, minimal, found 'silver'"):
        recipe("silver")


@pytest.fixture
def fake_mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a program of that name first on the path, which makes a tree and then does what the test says."""

    def make(then: str) -> Path:
        program = tmp_path / "bin" / "mmdebstrap"
        program.parent.mkdir()
        body = f'for word; do case "$word" in /*/root) tree=$word;; esac; done; mkdir -p "$tree/var/lib/dpkg"; {then}'
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
        monkeypatch.setenv("TIMELOCK_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("TIMELOCK_CACHE", raising=False)
        return tmp_path

    return make


@pytest.mark.lab
def test_a_build_that_fails_leaves_nothing(fake_mmdebstrap: Callable[[str], Path]) -> None:
    fake_mmdebstrap("echo 'no such mirror' >&2; exit 1")
    home = Home.from_env()
    with pytest.raises(MachineCannot, match="no such mirror"):
        host_image(home, "minimal", lambda line: None)
    assert [path for path in home.images.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.lab
def test_a_killed_build_is_no_image_and_the_next_one_is(fake_mmdebstrap: Callable[[str], Path]) -> None:
    place = fake_mmdebstrap("here=$(dirname $0); touch $here/started; while [ -e $here/hold ]; do sleep 0.05; done")
    hold, started = place / "bin" / "hold", place / "bin" / "started"
    hold.touch()
    home = Home.from_env()
    builder = subprocess.Popen([sys.executable, "-c", BUILD], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    until(started.exists, "the build has begun")
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    until(lambda: not _running(str(place)), "nothing of the killed build runs")
    assert not any(path.name.startswith("host-") for path in home.images.iterdir())
    hold.unlink()
    assert (host_image(home, "minimal", lambda line: None) / "var/lib/dpkg").is_dir()
    assert [path.name for path in home.images.iterdir() if path.name.endswith(".building")] == []


def _running(word: str) -> bool:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in file.read_bytes():
                return True
        except OSError:
            continue
    return False
