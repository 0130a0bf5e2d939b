"""Finds what there is of a lab on this machine, and removes it: by its number, whatever died when.

Nothing here asks the lab's own state for more than a hint.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from provision.errors import MachineCannot
from provision.lab import network
from provision.lab.cgroups import Group, hierarchies
from provision.lab.network import Network
from provision.lab.numbers import held_number, holders
from provision.lab.state import read_state
from provision.lab.tool import cannot

LOOP_LIMIT_SECONDS = 15.0
POLL_SECONDS = 0.01


def number_of(lab: Path, state_file: Path) -> int | None:
    """Give the number a lab's remains bear, also where its state is damaged or its hold on the number was lost."""
    held = held_number(lab)
    if held is not None:
        return held
    try:
        state = read_state(state_file)
    except MachineCannot:
        return None
    return None if state is None or state.number in holders() else state.number


def clear(number: int) -> None:
    """End and remove every process, group, link, namespace and table that bears the number; raises MachineCannot."""
    own = Network(number=number)
    Group(name=own.group, hierarchies=hierarchies()).remove()
    network.down(own)


def remove_files(lab: Path) -> None:
    """Delete a lab's directory once no loop device holds a disk of it any more. Raises MachineCannot."""
    if not lab.is_dir():
        return
    deadline = time.monotonic() + LOOP_LIMIT_SECONDS
    while busy := loop_devices(lab):
        if time.monotonic() > deadline:
            raise MachineCannot(
                f"{lab}: expected its disks to be free, found {', '.join(busy)} in use",
                next_step="see who mounts them (`losetup --list`), then try again",
            )
        time.sleep(POLL_SECONDS)
    try:
        shutil.rmtree(lab)
    except OSError as error:
        raise cannot(str(lab), error) from error


def loop_devices(lab: Path, *, block: Path = Path("/sys/block")) -> list[str]:
    """Name the loop devices whose files lie below the lab's directory."""
    backing = {file.parent.parent.name: file for file in block.glob("loop*/loop/backing_file")}
    return sorted(name for name, file in backing.items() if _lies_below(file, lab))


def _lies_below(file: Path, lab: Path) -> bool:
    try:
        return Path(file.read_text().strip()).is_relative_to(lab.resolve())
    except OSError:
        return False  # freed while we looked
