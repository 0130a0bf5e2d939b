"""Groups by path and by id."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.errors import InvalidSetting
from agent.gate import cgroups
from tests.fakes.gates import Place


def test_a_group_is_found_by_either_way_of_writing_its_path(place: Place, place_root: Path) -> None:
    inner = place.group("a", "b")
    written = Path("/", inner.relative_to(place_root))  # as in /proc/PID/cgroup
    for path in (inner, written):
        found = cgroups.find(path, place_root)
        assert (found.path, found.level, found.id) == (written, 3, inner.stat().st_ino)


def test_a_groups_path_is_found_by_its_id_as_long_as_it_is_there(place: Place, place_root: Path) -> None:
    inner = place.group("a", "b")
    number = inner.stat().st_ino
    root = os.open(place_root, os.O_RDONLY)
    assert cgroups.path_of(number, root) == Path("/", inner.relative_to(place_root))
    assert cgroups.path_of(place_root.stat().st_ino, root) == Path("/")
    inner.rmdir()
    assert cgroups.path_of(number, root) is None
    os.close(root)


@pytest.mark.parametrize("path", ["/nowhere", "/../../..", "cgroup.procs"])
def test_what_is_no_group_is_refused(place_root: Path, path: str) -> None:
    with pytest.raises(InvalidSetting, match="expected a directory below"):
        cgroups.find(Path(path), place_root)
