"""One operation on a lab at a time."""

import os
from pathlib import Path

import pytest

from provision.errors import Locked
from provision.lab.lock import lab_lock


def test_who_comes_second_is_told_who_is_at_work(tmp_path: Path) -> None:
    with lab_lock(tmp_path / "labs" / "mine", "lab up"):
        expected = rf"lab mine: held by `lab up`, process {os.getpid()}, since 20\d\d-"
        with pytest.raises(Locked, match=expected), lab_lock(tmp_path / "labs" / "mine", "lab down"):
            pass


def test_other_labs_are_free_and_so_is_this_one_afterwards(tmp_path: Path) -> None:
    with lab_lock(tmp_path / "mine", "lab up"), lab_lock(tmp_path / "other", "lab up"):
        pass
    with lab_lock(tmp_path / "mine", "lab up"):
        pass
