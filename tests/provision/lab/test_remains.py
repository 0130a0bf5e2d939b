"""Finding what is left of a lab."""

import os
from pathlib import Path

import pytest

from provision.errors import MachineCannot
from provision.lab import remains
from provision.lab.state import LabState, write_state


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """Loop devices as /sys/block shows them."""
    for number, backing in enumerate((tmp_path / "labs/mine/hosts/a/disk.ext4", tmp_path / "labs/mine2/disk.ext4")):
        place = tmp_path / f"block/loop{number}/loop"
        place.mkdir(parents=True)
        (place / "backing_file").write_text(f"{backing}\n")
    (tmp_path / "block/loop7").mkdir()
    return tmp_path / "block"


def test_only_the_labs_own_disks_count(tmp_path: Path, block: Path) -> None:
    assert remains.loop_devices(tmp_path / "labs/mine", block=block) == ["loop0"]
    assert remains.loop_devices(tmp_path / "labs/other", block=block) == []


def test_files_go_when_no_disk_is_in_use(tmp_path: Path) -> None:
    lab = tmp_path / "labs/mine"
    (lab / "hosts/a/upper").mkdir(parents=True)
    (lab / "hosts/a/upper/file").touch()
    remains.remove_files(lab)
    assert not lab.exists()
    remains.remove_files(lab)


@pytest.mark.lab
def test_a_disk_in_use_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from provision.lab import kernel

    lab = tmp_path / "mine"
    lab.mkdir()
    disk = lab / "disk.ext4"
    disk.write_bytes(bytes(1_000_000))
    monkeypatch.setattr(remains, "LOOP_LIMIT_SECONDS", 0.0)
    _, descriptor = kernel.attach_loop(disk)
    try:
        with pytest.raises(MachineCannot, match="expected its disks to be free, found loop"):
            remains.remove_files(lab)
    finally:
        os.close(descriptor)
    assert disk.exists()


def test_a_labs_number_is_known_from_its_state_when_its_hold_was_lost(tmp_path: Path) -> None:
    state_file = tmp_path / "state.json"
    assert remains.number_of(tmp_path, state_file) is None
    write_state(state_file, LabState(number=251, created_ns=1))
    assert remains.number_of(tmp_path, state_file) == 251
    state_file.write_text("{half")
    assert remains.number_of(tmp_path, state_file) is None
