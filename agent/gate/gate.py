"""The gate as a whole: put up or taken over, read, told whom to let in, asked for its health, taken down.

It judges nothing: who was booked and what an event means is for its caller. All its methods are for one thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from agent.errors import GateMismatch, InvalidSetting
from agent.gate import bpf, cgroups, mounts, objects
from agent.gate.device import DeviceRange
from agent.gate.event import CGROUP, COUNTERS, IDENTITY, SETTINGS, TALLY, Counter, Event, Mode, Opening, Settings, Tally
from agent.gate.frame import Features
from agent.gate.objects import Design, Objects
from agent.gate.program import MAX_LEVEL
from agent.gate.release import release_all
from agent.gate.ring import Ring

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PINS = "timelock"
RING_BYTES = 4 << 20
TALLIES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """What a gate is to be. Without a group it stands at the root; with a name it is pinned and outlives its maker."""

    devices: tuple[DeviceRange, ...]
    settings: Settings
    allowed: tuple[Path, ...] = ()
    cgroup: Path | None = None
    name: str = ""
    ring_bytes: int = RING_BYTES
    tallies: int = TALLIES

    def __post_init__(self) -> None:
        if not self.devices:
            raise InvalidSetting("gate: expected at least one range of devices, found none")
        if self.ring_bytes < 4096 or self.ring_bytes & (self.ring_bytes - 1):
            raise InvalidSetting(f"gate: expected a ring of a power of two from 4096 bytes, found {self.ring_bytes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a liveness check sees. Two that differ in link, program or boot are not one watch without a gap."""

    boot_id: str
    link_id: int
    program_id: int
    program_tag: str
    attached: bool
    settings: Settings
    counters: Mapping[Counter, int]
    allowed: int
    allowed_digest: str
    unread_bytes: int


def now_ns() -> int:
    """The clock of events, leases and holds: CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Gate:
    """A gate that stands. Make one with `Gate.open`; `adopted` tells whether it had been standing before."""

    def __init__(self, config: GateConfig, opened: contextlib.ExitStack) -> None:
        self._root = mounts.cgroup_root()
        self._root_fd = _open_folder(self._root, opened)
        self._cgroup_fd = _open_folder(_place(config.cgroup, self._root), opened)
        self._folder = _folder(config.name) if config.name else None
        allowed = frozenset(_listable(path, self._root) for path in config.allowed)
        self._objects, self.adopted = _stand(config, self._folder, self._cgroup_fd, allowed, opened)
        self._ring = opened.enter_context(Ring(self._objects.maps.ring, bpf.map_info(self._objects.maps.ring).entries))
        self._opened = opened.pop_all()

    @classmethod
    def open(cls, config: GateConfig) -> Gate:
        """Put up the gate, or take over the pinned one of that name with all that its ring kept meanwhile.

        What was allowed on a gate that is taken over stays allowed; the config's settings replace its own.

        Raises:
            GateUnavailable: this machine cannot carry it.
            GateBusy: somebody else reads it.
            GateMismatch: the pinned one is another.
            InvalidSetting: a group that is not there, or a name that cannot be one.
        """
        with contextlib.ExitStack() as opened:
            return cls(config, opened)

    def __enter__(self) -> Self:
        """Return self; leaving the block closes, and leaves a pinned gate standing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close(detach=False)

    @property
    def features(self) -> Features:
        """What the kernel grants the program: without signals KILL only refuses and nobody is held in open()."""
        return self._objects.features

    @property
    def allowed_fd(self) -> int:
        """The map of the allowed."""
        return self._objects.maps.allowed

    @property
    def held_fd(self) -> int:
        """The map of those who are held, for `agent.gate.hold`."""
        return self._objects.maps.held

    def fileno(self) -> int:
        """A descriptor to poll: readable when there are events."""
        return self._ring.fileno()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for events; false when the time is over."""
        return self._ring.wait(timeout_seconds)

    def events(self) -> Iterator[Event]:
        """Give the events that are there, in the ring's order; one is done with when the next is asked for."""
        return map(Event.decode, self._ring.read())

    def tallies(self) -> Iterator[Tally]:
        """Give how often each opening of late happened, those included for which there was no event of their own."""
        for key in set(bpf.keys(self._objects.maps.tallies, IDENTITY.size)):
            if value := bpf.lookup(self._objects.maps.tallies, key, TALLY.size):
                openings, emitted_ns = TALLY.unpack(value)
                yield Tally(opening=Opening.decode(key), openings=openings, emitted_ns=emitted_ns)

    def allow(self, path: Path) -> int:
        """Let a group and all below it in, whatever comes to be there later; returns its id."""
        cgroup_id = _listable(path, self._root)
        objects.list_group(self._objects.maps, cgroup_id)
        return cgroup_id

    def revoke(self, cgroup_id: int) -> bool:
        """Take a group off the list; false if it was not on it. What it has open it keeps."""
        return bpf.delete(self._objects.maps.allowed, CGROUP.pack(cgroup_id))

    def allowed(self) -> frozenset[int]:
        """The ids on the list."""
        return frozenset(CGROUP.unpack(key)[0] for key in bpf.keys(self._objects.maps.allowed, CGROUP.size))

    def path_of(self, cgroup_id: int) -> Path | None:
        """Give a group's path if it still is there."""
        return cgroups.path_of(cgroup_id, self._root_fd)

    def settings(self) -> Settings:
        """What the program is told at this moment."""
        raw = bpf.lookup(self._objects.maps.settings, bytes(4), SETTINGS.size) or bytes(SETTINGS.size)
        try:
            return Settings.decode(raw)
        except ValueError as error:
            raise GateMismatch(f"gate: expected settings of ours, found {error}: somebody changed the map") from error

    def set_mode(self, mode: Mode) -> None:
        """Change what happens to who is not listed, from the next opening on."""
        self._set(replace(self.settings(), mode=mode))

    def extend_lease(self, until_ns: int) -> None:
        """Move the instant after which everything is let through, whether or not anybody of ours still lives."""
        self._set(replace(self.settings(), lease_until_ns=until_ns))

    def hold_until(self, until_ns: int) -> None:
        """In OBSERVE, stop each opener who is not listed until that instant; `agent.gate.hold` lets them go on."""
        self._set(replace(self.settings(), hold_until_ns=until_ns))

    def counters(self) -> dict[Counter, int]:
        """What the kernel counted since the gate was put up."""
        value = bpf.lookup(self._objects.maps.counters, bytes(4), COUNTERS.size) or bytes(COUNTERS.size)
        return dict(zip(Counter, COUNTERS.unpack(value), strict=True))

    def health(self) -> Health:
        """Look whether the gate stands as it was put up."""
        link = bpf.link_info(self._objects.link)
        listed = sorted(self.allowed())
        at_place = link.cgroup_id == os.fstat(self._cgroup_fd).st_ino
        return Health(
            boot_id=BOOT_ID.read_text().strip(),
            link_id=link.id,
            program_id=link.program_id,
            program_tag=bpf.program_info(link.program_id).tag,
            attached=at_place and link.program_id in bpf.attached_programs(self._cgroup_fd),
            settings=self.settings(),
            counters=self.counters(),
            allowed=len(listed),
            allowed_digest=hashlib.sha256(b"".join(map(CGROUP.pack, listed))).hexdigest(),
            unread_bytes=self._ring.unread_bytes,
        )

    def close(self, *, detach: bool) -> None:
        """Let go of the gate. A pinned one goes on standing unless it is to be detached; another one is gone anyway."""
        if detach:
            bpf.detach(self._objects.link)
            if self._folder:
                objects.remove(self._folder)
        self._opened.close()

    def _set(self, settings: Settings) -> None:
        bpf.update(self._objects.maps.settings, bytes(4), settings.encode())


def _stand(
    config: GateConfig, folder: Path | None, cgroup: int, allowed: frozenset[int], opened: contextlib.ExitStack
) -> tuple[Objects, bool]:
    """Adopt what is pinned, or create and pin; true if adopted."""
    design = Design(devices=config.devices, ring_bytes=config.ring_bytes, tallies=config.tallies)
    if folder is not None:
        opened.callback(os.close, objects.lock(folder))
        if found := objects.adopt(design, os.fstat(cgroup).st_ino, folder):
            opened.callback(found.close)
            objects.tell(found.maps, config.settings.encode(), allowed)
            release_all(found.maps.held)  # if the last agent was killed together with its watchdog
            return found, True
    made = objects.create(design, cgroup, config.settings.encode(), allowed)
    opened.callback(made.close)
    if folder is not None:
        objects.pin(made, folder)
    return made, False


def _open_folder(path: Path, opened: contextlib.ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, fd)
    return fd


def _place(cgroup: Path | None, root: Path) -> Path:
    return root if cgroup is None else root / cgroups.find(cgroup, root).path.relative_to("/")


def _folder(name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise InvalidSetting(f"gate {name!r}: expected a name of letters, digits, - and _")
    return mounts.bpf_root() / PINS / name


def _listable(path: Path, root: Path) -> int:
    group = cgroups.find(path, root)
    if not 1 <= group.level <= MAX_LEVEL:
        raise InvalidSetting(
            f"control group {group.path}: expected one at level 1 to {MAX_LEVEL}, found level {group.level}",
            next_step="the root holds everybody; a group below it is to be listed",
        )
    return group.id
