"""Real gates for tests, each at a control group of its own, so that the rest of the machine sees nothing of it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import GateUnavailable
from agent.gate import mounts
from agent.gate.device import DeviceRange
from agent.gate.event import Mode, Settings
from agent.gate.gate import Gate, GateConfig
from tests.fakes.gates import CONSOLES, Place


@pytest.fixture(scope="session")
def place_root() -> Path:
    """The root of the version 2 hierarchy; skips where no gate can stand."""
    if os.geteuid():
        pytest.skip("a gate needs root")
    try:
        root = mounts.cgroup_root()
        config = GateConfig(devices=(DeviceRange(major=4000),), settings=Settings(mode=Mode.OBSERVE, lease_until_ns=0))
        Gate.open(config).close(detach=True)
    except GateUnavailable as error:
        pytest.skip(f"no gate on this machine: {error.message}")
    return root


@pytest.fixture
def place(place_root: Path, tmp_path: Path) -> Iterator[Place]:
    """A group and a node that opens, for one test."""
    minor = _opening_minor(tmp_path)
    if minor is None:
        pytest.skip("no console's memory (7:0–7:7) opens on this machine")
    made = Place(root=place_root, name=f"timelock-test-{os.getpid()}-{tmp_path.name}", folder=tmp_path, minor=minor)
    with contextlib.closing(made):
        yield made


def _opening_minor(folder: Path) -> int | None:
    for minor in range(8):
        node = folder / f"console{minor}"
        os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(CONSOLES.major, minor))
        with contextlib.suppress(OSError):
            os.close(os.open(node, os.O_RDWR | os.O_NOCTTY))
            return minor
    return None
