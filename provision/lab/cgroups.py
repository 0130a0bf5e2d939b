"""Control groups of lab hosts: made, entered, killed and removed in every hierarchy of the machine at once.

A host's life is its group: killing it ends each process, and with the last process go mounts, loop device and network.
Works where version 2 is alone, and where it stands beside version 1 ("hybrid"); only version 2 can kill.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provision.errors import MachineCannot

MOUNTINFO = Path("/proc/self/mountinfo")
LIMIT_SECONDS = 15.0
POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One mounted hierarchy; the controllers are named for version 1 only."""

    mount: Path
    version: int
    controllers: frozenset[str] = frozenset()


def hierarchies(mountinfo: str | None = None) -> tuple[Hierarchy, ...]:
    """Read the machine's hierarchies, version 2 first; raises MachineCannot where that is not mounted."""
    found = sorted(_parse(MOUNTINFO.read_text() if mountinfo is None else mountinfo), key=lambda one: -one.version)
    if not found or found[0].version != 2:
        raise MachineCannot(
            "control groups: expected the version 2 hierarchy to be mounted, found none",
            next_step="mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The group of one name in each hierarchy, such as `timelock-lab0/lab-a1`."""

    name: str
    hierarchies: tuple[Hierarchy, ...]

    @property
    def unified(self) -> Path:
        """The group's directory in the version 2 hierarchy."""
        return self.hierarchies[0].mount / self.name

    def create(self) -> None:
        """Make the group in every hierarchy, with all controllers that its parents can hand down."""
        for one in self.hierarchies:
            _make(one, self.name)

    def procs_files(self) -> tuple[Path, ...]:
        """The files a process writes itself into to enter: version 2 first, from where it can be killed."""
        return tuple(one.mount / self.name / "cgroup.procs" for one in self.hierarchies)

    def alive(self) -> bool:
        """Say whether any process is in the group or below it."""
        with contextlib.suppress(FileNotFoundError):
            return "populated 1" in (self.unified / "cgroup.events").read_text()
        return False

    def kill(self) -> None:
        """Kill every process in and below the group and wait for their end; raises MachineCannot after the limit."""
        with contextlib.suppress(FileNotFoundError):
            (self.unified / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + LIMIT_SECONDS
        while self.alive():
            if time.monotonic() > deadline:
                raise MachineCannot(
                    f"{self.unified}: expected its processes gone {LIMIT_SECONDS:.0f} s after SIGKILL, found some left",
                    next_step=f"see the processes in {self.unified}/cgroup.procs (state D waits for a disk), try again",
                )
            time.sleep(POLL_SECONDS)

    def remove(self) -> None:
        """Kill what is in the group and remove it, with all below it, from every hierarchy; raises MachineCannot."""
        self.kill()
        deadline = time.monotonic() + LIMIT_SECONDS
        for one in self.hierarchies:
            while not remove_tree(one.mount / self.name):
                if time.monotonic() > deadline:
                    message = f"{one.mount / self.name}: expected an empty group, found it busy"
                    raise MachineCannot(message, next_step="try again")
                time.sleep(POLL_SECONDS)


def remove_tree(folder: Path) -> bool:
    """Remove an empty group and those below it, deepest first; false where the kernel still holds one."""
    if not folder.is_dir():
        return True
    children = [path for path in folder.iterdir() if path.is_dir()]
    if not all([remove_tree(child) for child in children]):
        return False
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def _parse(mountinfo: str) -> Iterator[Hierarchy]:
    seen: set[Path] = set()
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount, (kind, _, options) = Path(left.split()[4]), right.split(maxsplit=2)
        if kind not in ("cgroup", "cgroup2") or mount in seen:
            continue
        seen.add(mount)
        if kind == "cgroup2":
            yield Hierarchy(mount=mount, version=2)
        else:
            yield Hierarchy(mount=mount, version=1, controllers=frozenset(options.split(",")) - {"rw", "ro"})


def _make(one: Hierarchy, name: str) -> None:
    folder = one.mount
    for part in Path(name).parts:
        parent, folder = folder, folder / part
        if one.version == 2:
            _hand_down(parent)
        folder.mkdir(exist_ok=True)
        if "cpuset" in one.controllers:
            for file in ("cpuset.cpus", "cpuset.mems"):
                (folder / file).write_text((parent / file).read_text())


def _hand_down(parent: Path) -> None:
    """Let groups below `parent` have its controllers, each by itself: one that is refused costs no other."""
    for controller in (parent / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            (parent / "cgroup.subtree_control").write_text(f"+{controller}")
