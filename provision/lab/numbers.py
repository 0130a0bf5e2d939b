"""Gives each lab on this machine a number of its own, from which all its names and addresses follow.

A number is held by a small file that says whose it is, written before anything is made under it: whatever dies when,
somebody can tell which lab the remains of a number belong to.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from provision.errors import MachineCannot
from provision.lab.network import NUMBERS, taken_numbers

PLACE = Path("/run/timelock-labs")


def held_number(lab: Path, *, place: Path = PLACE) -> int | None:
    """Give the number that the lab in directory `lab` holds, if it holds one."""
    return next((number for number, holder in holders(place).items() if holder == lab), None)


def hold_number(lab: Path, *, preferred: int | None, clear: Callable[[int], None], place: Path = PLACE) -> int:
    """Give the lab its number: the one it holds, else the preferred one if free, else the lowest free.

    A number whose lab's directory is gone is cleared by `clear` and free again. Raises MachineCannot when none is left.
    """
    with _alone(place):
        held = holders(place)
        for number, holder in held.items():
            if holder == lab:
                return number
        for number in [number for number, holder in held.items() if holder is None or not holder.is_dir()]:
            clear(number)
            (place / str(number)).unlink(missing_ok=True)
        taken = holders(place).keys() | taken_numbers()
        free = [number for number in NUMBERS if number not in taken]
        if not free:
            raise MachineCannot(
                "lab: expected a free subnet among 10.77.0.0/24 … 10.77.255.0/24, found none",
                next_step="take labs down that are not needed",
            )
        number = preferred if preferred in free else free[0]
        partial = place / f".{number}.partial"
        partial.write_text(json.dumps({"lab": str(lab)}))
        partial.rename(place / str(number))
        return number


def release_number(lab: Path, *, place: Path = PLACE) -> None:
    """Give back the number of the lab in directory `lab`, after all that bore it is gone."""
    with contextlib.suppress(FileNotFoundError), _alone(place, make=False):
        for number, holder in holders(place).items():
            if holder == lab:
                (place / str(number)).unlink(missing_ok=True)


def holders(place: Path = PLACE) -> dict[int, Path | None]:
    """Read who holds which number; None where the file says nothing usable."""
    files = [file for file in place.glob("*") if file.name.isdigit()] if place.is_dir() else []
    return {int(file.name): _holder(file) for file in sorted(files, key=lambda file: int(file.name))}


def _holder(file: Path) -> Path | None:
    try:
        return Path(json.loads(file.read_text())["lab"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _alone(place: Path, *, make: bool = True) -> Iterator[None]:
    if make:
        place.mkdir(parents=True, exist_ok=True, mode=0o755)
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
