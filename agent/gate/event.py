"""What kernel and agent tell each other: the layout of an event, of the settings, counters and tallies. Pure.

`agent.gate.program` writes by these layouts, `agent.gate.ring` and `agent.gate.gate` read by them. A change here is a
change of LAYOUT, so that an agent never adopts a pinned gate that speaks another layout.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Self

LAYOUT = 1

COMM_BYTES = 16  # TASK_COMM_LEN, include/linux/sched.h
FOREVER_NS = (1 << 64) - 1

# An event begins with its identity: openings that agree in these 48 bytes are the same opening again.
IDENTITY = struct.Struct("<QQIIIIIIII")
EVENT = struct.Struct("<QQIIIIIIII QQQQ II 16s")
TALLY = struct.Struct("<QQ")
HOLD = struct.Struct("<QII")  # since when, which process, which thread; the key is the event's sequence number
HOLD_KEY = struct.Struct("<Q")
CGROUP = struct.Struct("<Q")


class At(enum.IntEnum):
    """Where the fields of an event begin."""

    CGROUP_ID = 0
    STARTED_NS = 8
    TGID = 16
    UID = 20
    MAJOR = 24
    MINOR = 28
    ACCESS = 32
    VERDICT = 36
    MODE = 40
    PADDING = 44
    AT_NS = 48
    SEQUENCE = 56
    OPENINGS = 64
    LISTED_ID = 72
    TID = 80
    FLAGS = 84
    COMM = 88


class Access(enum.IntFlag):
    """What was asked for: BPF_DEVCG_ACC_*, include/uapi/linux/bpf.h."""

    MKNOD = 1
    READ = 2
    WRITE = 4

    def __str__(self) -> str:
        names = {Access.READ: "r", Access.WRITE: "w", Access.MKNOD: "m"}
        return "".join(letter for bit, letter in names.items() if bit in self)


class Mode(enum.IntEnum):
    """What the gate does with who is not listed. Anything that is not OBSERVE refuses: the program fails closed."""

    OBSERVE = 0
    DENY = 1
    KILL = 2


class Verdict(enum.IntEnum):
    """What became of an opening."""

    ALLOWED = 0  # on the list
    OBSERVED = 1  # not on the list, let through
    STOPPED = 2  # not on the list: EPERM, and in KILL a SIGKILL too
    REFUSED = 3  # another program, such as a container's own, had refused it before it came to the gate


class Flag(enum.IntFlag):
    """What else the kernel did."""

    HELD = 1  # the opener was told to stop (SIGSTOP) before its next instruction


class Counter(enum.IntEnum):
    """What the kernel counts. The first four are the verdicts: every opening is in one of them, merged and lost too."""

    ALLOWED = 0
    OBSERVED = 1
    STOPPED = 2
    REFUSED = 3
    EXPIRED = 4  # let through since the lease was over
    MERGED = 5  # no event of their own: the tally of the same opening counts them
    EMITTED = 6  # events for which room was asked in the ring; gives an event its sequence number
    LOST = 7  # events for which there was no room
    HELD = 8
    UNHELD = 9  # could not be held: table full, or the task cannot be signalled
    KILLED = 10
    UNKILLED = 11  # refused all the same
    UNTALLIED = 12  # events without tally, the table being full


class Setting(enum.IntEnum):
    """What the agent tells the program while it runs; each is eight bytes, which change at once."""

    MODE = 0
    LEASE_UNTIL_NS = 1
    HOLD_UNTIL_NS = 2
    MERGE_NS = 3


SETTINGS = struct.Struct(f"<{len(Setting)}Q")
COUNTERS = struct.Struct(f"<{len(Counter)}Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The program's settings. Times are CLOCK_BOOTTIME, which goes on while the machine sleeps and is never set."""

    mode: Mode
    lease_until_ns: int
    hold_until_ns: int = 0
    merge_ns: int = 100_000_000

    def encode(self) -> bytes:
        """Give the bytes of the map's value."""
        return SETTINGS.pack(self.mode, self.lease_until_ns, self.hold_until_ns, self.merge_ns)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read the map's value."""
        mode, lease, hold, merge = SETTINGS.unpack(raw)
        return cls(mode=Mode(mode), lease_until_ns=lease, hold_until_ns=hold, merge_ns=merge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Who tried to open what: the part of an event by which openings are told apart.

    A process is its pid and when it began, by CLOCK_BOOTTIME; that is 0 where the kernel tells no types (BTF).
    """

    cgroup_id: int
    started_ns: int
    pid: int
    uid: int
    major: int
    minor: int
    access: Access
    verdict: Verdict
    mode: Mode

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read IDENTITY."""
        cgroup_id, started_ns, pid, uid, major, minor, access, verdict, mode, _ = IDENTITY.unpack(raw)
        return cls(
            cgroup_id=cgroup_id,
            started_ns=started_ns,
            pid=pid,
            uid=uid,
            major=major,
            minor=minor,
            access=Access(access),
            verdict=Verdict(verdict),
            mode=Mode(mode),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of the ring. Ids are those of the initial namespaces; `openings` counts this opening so far."""

    opening: Opening
    at_ns: int
    sequence: int
    openings: int
    listed_id: int
    tid: int
    flags: Flag
    comm: str

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read EVENT. A comm is any bytes: what is not UTF-8 is kept escaped."""
        at_ns, sequence, openings, listed_id, tid, flags, comm = EVENT.unpack(raw)[-7:]
        return cls(
            opening=Opening.decode(raw[: IDENTITY.size]),
            at_ns=at_ns,
            sequence=sequence,
            openings=openings,
            listed_id=listed_id,
            tid=tid,
            flags=Flag(flags),
            comm=comm.split(b"\0", 1)[0].decode(errors="backslashreplace"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How often an opening happened so far, its events included; never falls while the kernel keeps it."""

    opening: Opening
    openings: int
    emitted_ns: int
