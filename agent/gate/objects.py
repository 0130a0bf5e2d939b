"""The kernel objects of one gate: its maps, its program and its link, made anew or taken over from their pins.

Pins lie in one directory a gate, the link last: a directory without a link is what a killed maker left, and is cleared.
An exclusive flock(2) on that directory is the right to read the ring, and goes with its holder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from agent.errors import GateBusy, GateMismatch, GateUnavailable, InvalidSetting
from agent.gate import bpf, btf
from agent.gate.asm import encode
from agent.gate.bpf import MapType
from agent.gate.device import DeviceRange
from agent.gate.event import CGROUP, COUNTERS, HOLD, IDENTITY, LAYOUT, SETTINGS, TALLY
from agent.gate.frame import Features, Helper, Maps, Task
from agent.gate.program import build

LISTED_MAX = 4096
HELD_MAX = 4096
LINK = "link"
LISTED = b"\1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What decides which program and maps a gate is made of; two gates of one design are interchangeable."""

    devices: tuple[DeviceRange, ...]
    ring_bytes: int
    tallies: int

    def name(self, features: Features) -> str:
        """Give the program's name in the kernel: a digest of its instructions, by which a pinned one is known again."""
        blank = Maps(**dict.fromkeys(Maps.NAMES, 0))
        code = encode(build(self.devices, blank, features))
        return "gate_" + hashlib.sha256(bytes([LAYOUT]) + code).hexdigest()[:10]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Descriptors of one gate, and what the kernel grants its program."""

    maps: Maps
    link: int
    features: Features

    def close(self) -> None:
        """Close all; a gate without pins is then gone."""
        for fd in (self.link, *astuple(self.maps)):
            os.close(fd)


def create(design: Design, cgroup: int, settings: bytes, allowed: frozenset[int]) -> Objects:
    """Make a gate and attach it to a group: settings and list are in place before the first opening is judged."""
    if platform.machine() != "x86_64":
        raise GateUnavailable(f"gate: expected an x86-64 machine, found {platform.machine()}")
    with _refusals(), contextlib.ExitStack() as made:
        maps = _create_maps(design, made)
        tell(maps, settings, allowed)
        program, features = _load(design, maps)
        try:
            link = bpf.attach(program, cgroup)
        finally:
            os.close(program)  # the link holds it
        made.pop_all()
        return Objects(maps=maps, link=link, features=features)


def tell(maps: Maps, settings: bytes, allowed: frozenset[int]) -> None:
    """Write settings and list into the maps."""
    bpf.update(maps.settings, bytes(4), settings)
    for cgroup_id in allowed:
        list_group(maps, cgroup_id)


def list_group(maps: Maps, cgroup_id: int) -> None:
    """Put a group on the list; raises InvalidSetting if it is full."""
    try:
        bpf.update(maps.allowed, CGROUP.pack(cgroup_id), LISTED)
    except OSError as error:
        if error.errno != errno.E2BIG:
            raise
        raise InvalidSetting(
            f"control group {cgroup_id}: expected room on the list, found {LISTED_MAX} groups on it",
            next_step="allow a common ancestor, or revoke groups that are gone",
        ) from error


def pin(objects: Objects, folder: Path) -> None:
    """Pin all into an empty directory, the link last."""
    with _refusals():
        for name in Maps.NAMES:
            bpf.pin(getattr(objects.maps, name), folder / name)
        bpf.pin(objects.link, folder / LINK)


def adopt(design: Design, cgroup_id: int, folder: Path) -> Objects | None:
    """Take over the gate pinned in a directory; None where none was finished. Raises GateMismatch if it is another."""
    if not (folder / LINK).exists():
        unpin(folder)
        return None
    with _refusals(), contextlib.ExitStack() as opened:
        link = _opened(folder / LINK, opened)
        info = bpf.link_info(link)
        if info.cgroup_id == 0:  # somebody took it off: what is left of it guards nothing
            unpin(folder)
            return None
        features = _check(design, cgroup_id, info, folder)
        maps = Maps(**{name: _opened(folder / name, opened) for name in Maps.NAMES})
        opened.pop_all()
        return Objects(maps=maps, link=link, features=features)


def lock(folder: Path) -> int:
    """Make the pins' directory and lock it; raises GateBusy if another process has it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise GateBusy(
            f"gate {folder}: expected nobody to read it, found another process that does",
            next_step=f"see who with fuser {folder}; there is one reader a gate",
        ) from error
    if not os.fstat(fd).st_nlink:  # its last holder removed it while we waited for the lock
        os.close(fd)
        return lock(folder)
    return fd


def unpin(folder: Path) -> None:
    """Remove the pins, the link first."""
    for name in (LINK, *Maps.NAMES):
        (folder / name).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove the pins and their directory."""
    unpin(folder)
    folder.rmdir()


def _create_maps(design: Design, made: contextlib.ExitStack) -> Maps:
    def one(kind: MapType, name: str, key_bytes: int, value_bytes: int, entries: int) -> int:
        fd = bpf.create_map(kind, f"gate_{name}", key_bytes=key_bytes, value_bytes=value_bytes, entries=entries)
        made.callback(os.close, fd)
        return fd

    return Maps(
        settings=one(MapType.ARRAY, "settings", 4, SETTINGS.size, 1),
        counters=one(MapType.ARRAY, "counters", 4, COUNTERS.size, 1),
        allowed=one(MapType.HASH, "allowed", CGROUP.size, 1, LISTED_MAX),
        tallies=one(MapType.LRU_HASH, "tallies", IDENTITY.size, TALLY.size, design.tallies),
        held=one(MapType.HASH, "held", 8, HOLD.size, HELD_MAX),
        ring=one(MapType.RINGBUF, "ring", 0, 0, design.ring_bytes),
    )


def _load(design: Design, maps: Maps) -> tuple[int, Features]:
    """Load the program with all that the kernel grants; raises ProgramRefused if it does not even grant the least."""
    *better, least = _variants()
    for features in better:
        with contextlib.suppress(bpf.ProgramRefused):
            return _load_one(design, maps, features), features
    return _load_one(design, maps, least), least


def _load_one(design: Design, maps: Maps, features: Features) -> int:
    return bpf.load_program(encode(build(design.devices, maps, features)), design.name(features))


def _variants() -> tuple[Features, ...]:
    """Give what to try, the best first."""
    found = btf.offsets(btf.running_kernel(), "task_struct", ("group_leader", "start_boottime"))
    tasks = (Task(group_leader=found[0], start_boottime=found[1]), None) if found else (None,)
    return tuple(Features(signals=signals, task=task) for signals in (True, False) for task in tasks)


def missing_helper(log: str) -> Helper | None:
    """Read which helper the verifier did not grant: `... func bpf_send_signal#109`, check_helper_call."""
    found = re.search(r"(?:unknown func|cannot use helper) \w+#(\d+)", log)
    return next((helper for helper in Helper if found and helper == int(found[1])), None)


def _check(design: Design, cgroup_id: int, info: bpf.LinkInfo, folder: Path) -> Features:
    """See that a pinned link holds the design's program where it was asked for; give what the kernel granted it."""
    name = bpf.program_info(info.program_id).name
    names = {design.name(features): features for features in _variants()}
    if name in names and info.cgroup_id == cgroup_id:
        return names[name]
    raise GateMismatch(
        f"gate {folder}: expected program {' or '.join(names)} at group {cgroup_id}, "
        f"found {name} at group {info.cgroup_id}",
        next_step="close the other gate with detach first, or take another name",
    )


def _opened(path: Path, opened: contextlib.ExitStack) -> int:
    fd = bpf.open_pinned(path)
    opened.callback(os.close, fd)
    return fd


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the kernel refuses into what this machine lacks."""
    try:
        yield
    except bpf.ProgramRefused as refusal:
        raise lacks(refusal) from refusal
    except OSError as error:
        raise GateUnavailable(f"gate: {error.strerror}", next_step=_NEXT_STEPS.get(error.errno or 0, "")) from error


def lacks(refusal: bpf.ProgramRefused) -> GateUnavailable:
    """Say what the kernel lacks that refused the program."""
    helper = missing_helper(refusal.log)
    if helper is None:
        return GateUnavailable(f"gate: the kernel's verifier refused the program: {refusal}")
    return GateUnavailable(
        f"gate: expected the kernel to grant {helper.name} to programs of cgroup devices, found it does not",
        next_step="take a newer kernel: the opener's pid needs 6.10 at least; known to run on 6.18",
    )


_NEXT_STEPS = {
    errno.EPERM: "run as root of the host: the gate needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN or CAP_SYS_ADMIN",
    errno.ENOSYS: "the kernel needs CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF",
    errno.EINVAL: "the kernel needs CONFIG_CGROUP_BPF and ring buffers (5.8)",
}
