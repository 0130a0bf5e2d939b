"""What a lab remembers of itself, in one file that is written whole before anything is done.

It says what was wished, not what is: what is alive is asked of the kernel each time. A lab whose file is missing or
damaged can still be taken down.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from provision.errors import MachineCannot

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A host the lab has: name, place in the order (from 1), GPUs, and the image it starts from."""

    name: str
    index: int
    gpus: int
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """A lab's number, when it was made (UTC, nanoseconds), and its hosts."""

    number: int
    created_ns: int
    hosts: tuple[HostRecord, ...] = ()

    def with_hosts(self, lab: str, *, count: int, gpus: int, image: Path) -> LabState:
        """Add what is missing to have hosts 1 to `count`; hosts that are there stay as they are."""
        there = {host.index: host for host in self.hosts}
        wanted = sorted(there.keys() | set(range(1, count + 1)))
        hosts = tuple(
            there.get(index) or HostRecord(name=host_name(lab, index), index=index, gpus=gpus, image=str(image))
            for index in wanted
        )
        return replace(self, hosts=hosts)


def host_name(lab: str, index: int) -> str:
    """Name the host with this index, such as lab-a1."""
    return f"{lab}-a{index}"


def read_state(path: Path) -> LabState | None:
    """Read the state; None where there is none; raises MachineCannot where it is damaged."""
    try:
        raw = json.loads(path.read_text())
        if raw["version"] != VERSION:
            raise ValueError(f"version {raw['version']}")
        hosts = tuple(HostRecord(**host) for host in raw["hosts"])
        return LabState(number=int(raw["number"]), created_ns=int(raw["created_ns"]), hosts=hosts)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineCannot(
            f"{path}: expected the state of a lab (version {VERSION}), found it damaged: {error}",
            next_step="timelock lab down, then lab up",
        ) from error


def write_state(path: Path, state: LabState) -> None:
    """Write the state so that a reader sees the old or the new file, whole."""
    partial = path.with_suffix(".partial")
    with partial.open("w") as file:
        json.dump({"version": VERSION, **asdict(state)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
