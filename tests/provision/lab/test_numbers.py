"""Lab numbers: the lowest free one, one lab each, whoever is killed when."""

import subprocess
import sys
from pathlib import Path

from provision.lab.numbers import held_number, hold_number, holders, release_number

REPOSITORY = Path(__file__).parents[3]
HOLD = """
import pathlib, sys
from provision.lab.numbers import hold_number
lab = pathlib.Path(sys.argv[1]); lab.mkdir()
print(hold_number(lab, preferred=None, clear=lambda number: None, place=pathlib.Path(sys.argv[2])))
"""


def never(number: int) -> None:
    raise AssertionError(f"nothing of lab number {number} was to be cleared")


def a_lab(root: Path, name: str) -> Path:
    (root / name).mkdir()
    return root / name


def test_each_lab_has_its_own_and_keeps_it(tmp_path: Path) -> None:
    first, second, place = a_lab(tmp_path, "one"), a_lab(tmp_path, "two"), tmp_path / "numbers"
    one = hold_number(first, preferred=None, clear=never, place=place)
    two = hold_number(second, preferred=None, clear=never, place=place)
    assert one < two
    assert hold_number(first, preferred=two, clear=never, place=place) == one
    release_number(first, place=place)
    assert held_number(first, place=place) is None
    assert hold_number(a_lab(tmp_path, "three"), preferred=None, clear=never, place=place) == one


def test_a_free_number_that_was_had_before_is_preferred(tmp_path: Path) -> None:
    place = tmp_path / "numbers"
    assert hold_number(a_lab(tmp_path, "one"), preferred=200, clear=never, place=place) == 200
    assert hold_number(a_lab(tmp_path, "two"), preferred=200, clear=never, place=place) < 200


def test_remains_of_a_lab_without_directory_are_cleared_before_its_number_is_given_on(tmp_path: Path) -> None:
    place, cleared = tmp_path / "numbers", list[int]()
    gone = a_lab(tmp_path, "gone")
    number = hold_number(gone, preferred=None, clear=never, place=place)
    gone.rmdir()
    (place / "250").write_text("{half")
    assert hold_number(a_lab(tmp_path, "new"), preferred=None, clear=cleared.append, place=place) == number
    assert cleared == [number, 250]


def test_releasing_what_is_not_held_does_nothing(tmp_path: Path) -> None:
    release_number(tmp_path / "none", place=tmp_path / "numbers")
    assert not (tmp_path / "numbers").exists()


def test_many_at_once_get_different_ones(tmp_path: Path) -> None:
    place = tmp_path / "numbers"
    words = [[sys.executable, "-c", HOLD, str(tmp_path / f"lab{index}"), str(place)] for index in range(8)]
    started = [subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for line in words]
    numbers = {int(process.communicate(timeout=60)[0]) for process in started}
    assert len(numbers) == 8
    assert holders(place).keys() == numbers
    assert not list(place.glob(".*.partial"))
