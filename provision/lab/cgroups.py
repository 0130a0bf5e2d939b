"""Control groups of lab hosts: made, entered, killed and removed in every hierarchy of the machine at once.

A host's life is its group: killing it ends each process, and with the last process go mounts, loop device and network.
Works on machines with version 1 hierarchies and the version 2 one beside them ("hybrid").
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from provision.errors import MachineCannot

MOUNTINFO = Path("/proc/self/mountinfo")
POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One mounted hierarchy; version 2 has no controllers here, only the power to kill."""

    mount: Path
    version: int
    controllers: frozenset[str]


def hierarchies(mountinfo: str | None = None) -> tuple[Hierarchy, ...]:
    """Read the machine's hierarchies, version 2 first; raises MachineCannot where lab hosts could not live in them."""
    found = sorted(_parse(MOUNTINFO.read_text() if mountinfo is None else mountinfo), key=lambda one: -one.version)
    if not found or found[0].version != 2:
        raise MachineCannot(
            "control groups: expected the version 2 hierarchy to be mounted, found none",
            next_step="mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        )
    if not any("devices" in one.controllers for one in found):
        raise MachineCannot(
            "control groups: expected a `devices` controller (version 1 or hybrid layout), found version 2 alone",
            next_step="boot with systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1, or name real hosts in an inventory",
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

    def create(self, devices: Iterable[str] | None = None) -> None:
        """Make the group everywhere; `devices`, where given, is the full list of what its processes may open."""
        for one in self.hierarchies:
            _make(one, self.name)
        if devices is not None:
            folder = self._folder("devices")
            (folder / "devices.deny").write_text("a")
            for rule in devices:
                (folder / "devices.allow").write_text(rule)

    def procs_files(self) -> tuple[Path, ...]:
        """The files a process writes itself into to enter: version 2 first, the device limit last."""
        ordered = sorted(self.hierarchies, key=lambda one: (-one.version, "devices" in one.controllers))
        return tuple(one.mount / self.name / "cgroup.procs" for one in ordered)

    def alive(self) -> bool:
        """Say whether any process is in the group or below it."""
        with contextlib.suppress(FileNotFoundError):
            return "populated 1" in (self.unified / "cgroup.events").read_text()
        return False

    def kill(self, *, limit_seconds: float = 15.0) -> None:
        """Kill every process in and below the group and wait until none is left; raises MachineCannot after the limit."""
        with contextlib.suppress(FileNotFoundError):
            (self.unified / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + limit_seconds
        while self.alive():
            if time.monotonic() > deadline:
                raise MachineCannot(
                    f"{self.unified}: expected its processes to be gone {limit_seconds:.0f} s after SIGKILL, found some left",
                    next_step=f"look at the processes named in {self.unified}/cgroup.procs (state D waits for a disk), then try again",
                )
            time.sleep(POLL_SECONDS)

    def remove(self, *, limit_seconds: float = 15.0) -> None:
        """Kill what is in the group and remove it, with all below it, from every hierarchy."""
        self.kill(limit_seconds=limit_seconds)
        deadline = time.monotonic() + limit_seconds
        for one in self.hierarchies:
            while not _removed(one.mount / self.name):
                if time.monotonic() > deadline:
                    raise MachineCannot(
                        f"{one.mount / self.name}: expected an empty group, found it busy", next_step="try again"
                    )
                time.sleep(POLL_SECONDS)

    def _folder(self, controller: str) -> Path:
        return next(one.mount for one in self.hierarchies if controller in one.controllers) / self.name


def _parse(mountinfo: str) -> Iterable[Hierarchy]:
    seen: set[Path] = set()
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount, (kind, _, options) = Path(left.split()[4]), right.split(maxsplit=2)
        if kind not in ("cgroup", "cgroup2") or mount in seen:
            continue
        seen.add(mount)
        controllers = frozenset(options.split(",")) - {"rw", "ro"} if kind == "cgroup" else frozenset()
        yield Hierarchy(mount=mount, version=2 if kind == "cgroup2" else 1, controllers=controllers)


def _make(one: Hierarchy, name: str) -> None:
    folder = one.mount
    for part in Path(name).parts:
        parent, folder = folder, folder / part
        folder.mkdir(exist_ok=True)
        if "cpuset" in one.controllers:
            for file in ("cpuset.cpus", "cpuset.mems"):
                (folder / file).write_text((parent / file).read_text())


def _removed(folder: Path) -> bool:
    """Remove a group and those below it, deepest first; false where the kernel still holds one."""
    if not folder.is_dir():
        return True
    children = [path for path in folder.iterdir() if path.is_dir()]
    if not all([_removed(child) for child in children]):
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
