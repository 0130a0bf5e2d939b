"""A BPF machine in Python, for the instructions and helpers that the gate uses: runs its program in a world made up.

It shares nothing with the assembler but the slot's fields: operation codes are read by the standard, from bits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.gate.asm import Instruction
from agent.gate.event import COUNTERS, EVENT, IDENTITY, Settings
from agent.gate.frame import Maps, Task

MASK = (1 << 64) - 1
STACK_BYTES = 512
STEPS_MAX = 20_000
SIZES = {0x00: "<I", 0x08: "<H", 0x10: "<B", 0x18: "<Q"}
MAPS = Maps(settings=3, counters=4, allowed=5, tallies=6, held=7, ring=8)
TASK = Task(group_leader=16, start_boottime=40)

NO_ROOM, EXISTS, NOT_FOUND = -7 & MASK, -17 & MASK, -2 & MASK


@dataclass(slots=True)
class World:
    """What the program can ask for, and what it changes. `groups` are the caller's ancestors from level 1 to itself."""

    settings: Settings
    now_ns: int = 1000
    tgid: int = 100
    tid: int = 101
    started_ns: int = 55
    uid: int = 1000
    comm: bytes = b"python3"
    groups: tuple[int, ...] = ()
    refused: int = 0
    allowed: frozenset[int] = frozenset()
    tallies: dict[bytes, bytearray] = field(default_factory=dict)
    tallies_max: int = 100
    held: dict[int, bytes] = field(default_factory=dict)
    held_max: int = 100
    events: list[bytes] = field(default_factory=list)
    ring_max: int = 100
    signals: list[int] = field(default_factory=list)
    signal_result: int = 0
    counters: bytearray = field(default_factory=lambda: bytearray(COUNTERS.size))


class Machine:
    """Runs a program once; memory is made of regions, an address outside all of them is a failure of the program."""

    def __init__(self, program: tuple[Instruction, ...], world: World) -> None:
        self._program = program
        self._world = world
        self._regions: dict[int, bytearray] = {}
        self._registers = [0] * 11
        self._reserved: dict[int, bytearray] = {}

    def run(self, access: int, kind: int, major: int, minor: int) -> int:
        """Give what the program returns for an access to a device."""
        self._registers[1] = self._region(bytearray(struct.pack("<III", access << 16 | kind, major, minor)))
        self._registers[10] = self._region(bytearray(b"\xa5" * STACK_BYTES)) + STACK_BYTES
        at = 0
        for _ in range(STEPS_MAX):
            slot = self._program[at]
            if slot.code == 0x95:
                assert not self._reserved, "a reservation was neither submitted nor discarded"
                return self._registers[0]
            at += 1 + self._step(slot, at)
        raise AssertionError("the program does not end")

    def _step(self, slot: Instruction, at: int) -> int:
        """Do one instruction; give how far to jump."""
        match slot.code & 0x07:
            case 0 if slot.code == 0x18:
                self._registers[slot.destination] = self._wide(slot, self._program[at + 1].immediate)
                return 1
            case 1:
                raw = self._read(self._registers[slot.source] + slot.offset, struct.calcsize(SIZES[slot.code & 0x18]))
                (self._registers[slot.destination],) = struct.unpack(SIZES[slot.code & 0x18], raw)
            case 2 | 3:
                self._store(slot)
            case 5 if slot.code == 0x85:
                self._call(slot.immediate)
            case 5:
                return slot.offset if self._holds(slot) else 0
            case 7:
                self._compute(slot)
            case _:
                raise AssertionError(f"unknown operation {slot.code:#x}")
        return 0

    def _wide(self, slot: Instruction, high: int) -> int:
        if slot.source == 1:
            return slot.immediate  # a map is its descriptor
        assert slot.source == 2
        values = {MAPS.settings: bytearray(self._world.settings.encode()), MAPS.counters: self._world.counters}
        return self._region(values[slot.immediate]) + high

    def _store(self, slot: Instruction) -> None:
        address, form = self._registers[slot.destination] + slot.offset, SIZES[slot.code & 0x18]
        value = self._operand(slot, register=slot.code & 0x07 == 3)
        if slot.code & 0xE0 == 0xC0:
            assert (slot.immediate, form) == (0x01, "<Q"), "of the atomic ones only fetch-and-add of eight bytes"
            (before,) = struct.unpack(form, self._read(address, 8))
            self._write(address, struct.pack(form, before + value & MASK))
            self._registers[slot.source] = before
        else:
            self._write(address, struct.pack("<Q", value)[: struct.calcsize(form)])

    def _holds(self, slot: Instruction) -> bool:
        left, right = self._registers[slot.destination], self._operand(slot, register=bool(slot.code & 0x08))
        comparisons = {0x00: True, 0x10: left == right, 0x20: left > right, 0x30: left >= right}
        return {**comparisons, 0x50: left != right, 0xA0: left < right, 0xB0: left <= right}[slot.code & 0xF0]

    def _compute(self, slot: Instruction) -> None:
        left, right = self._registers[slot.destination], self._operand(slot, register=bool(slot.code & 0x08))
        results: dict[int, Callable[[], int]] = {
            0x00: lambda: left + right,
            0x10: lambda: left - right,
            0x40: lambda: left | right,
            0x50: lambda: left & right,
            0x60: lambda: left << (right & 63),
            0x70: lambda: left >> (right & 63),
            0xB0: lambda: right,
        }
        self._registers[slot.destination] = results[slot.code & 0xF0]() & MASK

    def _operand(self, slot: Instruction, *, register: bool) -> int:
        return self._registers[slot.source] if register else slot.immediate & MASK

    def _call(self, helper: int) -> None:
        world, arguments = self._world, self._registers[1:6]
        helpers: dict[int, Callable[[], int]] = {
            1: lambda: self._lookup(*arguments[:2]),
            2: lambda: self._update(*arguments[:4]),
            3: lambda: 0 if world.held.pop(self._key(arguments[1]), None) else NOT_FOUND,
            14: lambda: world.tgid << 32 | world.tid,
            15: lambda: 77 << 32 | world.uid,
            16: lambda: self._comm(*arguments[:2]),
            80: lambda: world.groups[-1] if world.groups else 1,
            109: lambda: self._signal(arguments[0]),
            123: lambda: ((1, *world.groups)[arguments[0]]) if arguments[0] <= len(world.groups) else 0,
            125: lambda: world.now_ns,
            131: lambda: self._reserve(*arguments[:3]),
            132: lambda: self._submit(*arguments[:2]),
            158: self._task,
            186: lambda: world.refused & MASK,
        }
        self._registers[0] = helpers[helper]()
        self._registers[1:6] = [0xDEAD_0000_0000_0000 + register for register in range(1, 6)]  # lost in a call

    def _lookup(self, fd: int, key: int) -> int:
        if fd == MAPS.allowed:
            return self._region(bytearray(b"\1")) if self._key(key) in self._world.allowed else 0
        assert fd == MAPS.tallies
        found = self._world.tallies.get(bytes(self._read(key, IDENTITY.size)))
        return 0 if found is None else self._region(found)

    def _update(self, fd: int, key: int, value: int, flags: int) -> int:
        assert flags == 1, "nothing is ever overwritten"
        if fd == MAPS.held:
            if len(self._world.held) >= self._world.held_max:
                return NO_ROOM
            self._world.held[self._key(key)] = bytes(self._read(value, 16))
            return 0
        assert fd == MAPS.tallies
        if len(self._world.tallies) >= self._world.tallies_max:
            return NO_ROOM
        self._world.tallies.setdefault(bytes(self._read(key, IDENTITY.size)), bytearray(self._read(value, 16)))
        return 0

    def _reserve(self, fd: int, size: int, flags: int) -> int:
        assert (fd, size, flags) == (MAPS.ring, EVENT.size, 0)
        if len(self._world.events) >= self._world.ring_max:
            return 0
        room = bytearray(b"\xa5" * size)
        address = self._region(room)
        self._reserved[address] = room
        return address

    def _submit(self, address: int, flags: int) -> int:
        assert flags == 0, "the reader is to be woken"
        self._world.events.append(bytes(self._reserved.pop(address)))
        return 0

    def _comm(self, address: int, size: int) -> int:
        assert size == 16, "a whole name, as the field has room for"
        return self._write(address, self._world.comm.ljust(size, b"\0"))

    def _task(self) -> int:
        """Give a thread that is not the first, and began later."""
        first, other = bytearray(64), bytearray(64)
        struct.pack_into("<Q", first, TASK.start_boottime, self._world.started_ns)
        struct.pack_into("<Q", other, TASK.group_leader, self._region(first))
        struct.pack_into("<Q", other, TASK.start_boottime, self._world.started_ns + 1)
        return self._region(other)

    def _signal(self, number: int) -> int:
        if not self._world.signal_result:
            self._world.signals.append(number)
        return self._world.signal_result & MASK

    def _key(self, address: int) -> int:
        return int.from_bytes(self._read(address, 8), "little")

    def _region(self, memory: bytearray) -> int:
        address = (len(self._regions) + 1) << 20
        self._regions[address] = memory
        return address

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        base = address & ~0xFFFFF
        if address - base > STACK_BYTES:
            raise AssertionError(f"address {address:#x} is in no region")
        assert base in self._regions, f"address {address:#x} is in no region"
        assert address - base + size <= len(self._regions[base]), f"{size} bytes at {address:#x} leave their region"
        return self._regions[base], address - base

    def _read(self, address: int, size: int) -> bytes:
        memory, at = self._find(address, size)
        return bytes(memory[at : at + size])

    def _write(self, address: int, value: bytes) -> int:
        memory, at = self._find(address, len(value))
        memory[at : at + len(value)] = value
        return 0
