"""What the steps of the gate's program stand on: its maps, the kernel's helpers, and the frame it builds an event in.

The event is built in the frame, where the verifier can follow each byte, and copied into the ring at the end.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from agent.gate.asm import Arithmetic, Assembler, Operand, Register, Size
from agent.gate.event import EVENT, HOLD, TALLY, At, Counter, Setting

R1, R2, R3, R4, R10 = Register.R1, Register.R2, Register.R3, Register.R4, Register.R10

NO_EXIST = 1  # BPF_NOEXIST

# Below the event a scratch for keys and values of maps.
FRAME_EVENT = -EVENT.size
FRAME_SCRATCH = FRAME_EVENT - max(TALLY.size, HOLD.size)


class Helper(enum.IntEnum):
    """Numbers of include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER."""

    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    GET_CURRENT_PID_TGID = 14
    GET_CURRENT_UID_GID = 15
    GET_CURRENT_COMM = 16
    SEND_SIGNAL = 109
    GET_CURRENT_CGROUP_ID = 80
    GET_CURRENT_ANCESTOR_CGROUP_ID = 123
    KTIME_GET_BOOT_NS = 125
    RINGBUF_RESERVE = 131
    RINGBUF_SUBMIT = 132
    GET_CURRENT_TASK_BTF = 158
    GET_RETVAL = 186


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """Descriptors of the maps a program is built on."""

    NAMES: ClassVar = ("settings", "counters", "allowed", "tallies", "held", "ring")

    settings: int
    counters: int
    allowed: int
    tallies: int
    held: int
    ring: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Where fields of the kernel's struct task_struct lie: its process's first thread, and when a thread began."""

    group_leader: int
    start_boottime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a kernel grants beyond the necessary: signals from the program, and a look at the opener's task."""

    signals: bool = True
    task: Task | None = None


class Frame(Assembler):
    """An assembler that knows the fields of the event, the settings, the counters and the maps."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        self.maps = maps

    def put(self, size: Size, field: At, operand: Operand) -> None:
        """Set a field of the event."""
        self.store(size, R10, FRAME_EVENT + field, operand)

    def get(self, size: Size, destination: Register, field: At) -> None:
        """Load a field of the event."""
        self.load(size, destination, R10, FRAME_EVENT + field)

    def point(self, destination: Register, offset: int) -> None:
        """Set a register to an address in the frame."""
        self.move(destination, R10)
        self.compute(Arithmetic.ADD, destination, offset)

    def get_setting(self, destination: Register, setting: Setting) -> None:
        """Load what the agent has set."""
        self.map_value(destination, self.maps.settings, 8 * setting)
        self.load(Size.DOUBLE, destination, destination)

    def count(self, counter: Counter) -> None:
        """Add one to a counter, atomically: openings happen on all processors at once."""
        self.map_value(R1, self.maps.counters, 8 * counter)
        self.move(R2, 1)
        self.fetch_add(R1, 0, R2)

    def call_map(self, helper: Helper, fd: int, *, key: int, value: int = 0, flags: int = 0) -> None:
        """Call a helper of maps with key and value in the frame."""
        self.map(R1, fd)
        self.point(R2, key)
        if helper is Helper.MAP_UPDATE:
            self.point(R3, value)
            self.move(R4, flags)
        self.call(helper)
