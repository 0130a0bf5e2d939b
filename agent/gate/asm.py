"""A small assembler for BPF: typed instructions, labels, and nothing that touches the kernel.

It knows the instructions that the gate needs, no more. Encodings are those of the kernel's
Documentation/bpf/standardization/instruction-set.rst; each method there names is one instruction here.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, replace

_ENCODING = struct.Struct("<BBhi")
INSTRUCTION_BYTES = _ENCODING.size

# Classes, sources and modes of an operation code.
_LDX, _ST, _STX, _JMP, _ALU64 = 0x01, 0x02, 0x03, 0x05, 0x07
_IMMEDIATE, _REGISTER = 0x00, 0x08
_MEMORY, _ATOMIC = 0x60, 0xC0
_LOAD_IMMEDIATE64 = 0x18
_FETCH = 0x01
_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE = 1, 2


class Register(enum.IntEnum):
    """R0: results. R1–R5: arguments, lost in a call. R6–R9: kept over calls. R10: end of the frame, read only."""

    R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)


class Size(enum.IntEnum):
    """How many bytes a load or store moves; the value is its code."""

    WORD = 0x00
    HALF = 0x08
    BYTE = 0x10
    DOUBLE = 0x18


class Arithmetic(enum.IntEnum):
    """64-bit arithmetic: destination = destination OP operand."""

    ADD = 0x00
    SUBTRACT = 0x10
    OR = 0x40
    AND = 0x50
    SHIFT_LEFT = 0x60
    SHIFT_RIGHT = 0x70
    MOVE = 0xB0


class Condition(enum.IntEnum):
    """64-bit unsigned comparison of a register with an operand."""

    EQUAL = 0x10
    GREATER = 0x20
    AT_LEAST = 0x30
    NOT_EQUAL = 0x50
    LESS = 0xA0
    AT_MOST = 0xB0


Operand = Register | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One slot of eight bytes; an immediate of 64 bits takes two slots."""

    code: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    immediate: int = 0

    def encode(self) -> bytes:
        """Give the eight bytes the kernel takes."""
        return _ENCODING.pack(self.code, self.source << 4 | self.destination, self.offset, self.immediate)


def encode(program: tuple[Instruction, ...]) -> bytes:
    """Give a whole program as the kernel takes it."""
    return b"".join(one.encode() for one in program)


class Assembler:
    """Collects instructions; `assemble` resolves the labels. One method, one instruction."""

    def __init__(self) -> None:
        self._slots: list[Instruction] = []
        self._labels: dict[str, int] = {}
        self._jumps: dict[int, str] = {}

    def label(self, name: str) -> None:
        """Name the next instruction."""
        if name in self._labels:
            raise ValueError(f"label {name}: expected once, found twice")
        self._labels[name] = len(self._slots)

    def compute(self, operation: Arithmetic, destination: Register, operand: Operand) -> None:
        """Do 64-bit arithmetic with a register or a signed 32-bit number, which is sign-extended."""
        source, register, immediate = _operand(operand)
        self._add(_ALU64 | source | operation, destination, register, immediate=immediate)

    def move(self, destination: Register, operand: Operand) -> None:
        """Set a register."""
        self.compute(Arithmetic.MOVE, destination, operand)

    def load(self, size: Size, destination: Register, base: Register, offset: int = 0) -> None:
        """Load from memory, zero-extended."""
        self._add(_LDX | _MEMORY | size, destination, base, offset)

    def store(self, size: Size, base: Register, offset: int, operand: Operand) -> None:
        """Store a register or a number to memory."""
        source, register, immediate = _operand(operand)
        self._add((_STX if source else _ST) | _MEMORY | size, base, register, offset, immediate)

    def fetch_add(self, base: Register, offset: int, operand: Register) -> None:
        """Add atomically to eight bytes of memory; the register then holds what was there before."""
        self._add(_STX | _ATOMIC | Size.DOUBLE, base, operand, offset, Arithmetic.ADD | _FETCH)

    def jump(self, label: str) -> None:
        """Go on at a label."""
        self._jumps[len(self._slots)] = label
        self._add(_JMP)

    def jump_if(self, condition: Condition, left: Register, right: Operand, label: str) -> None:
        """Go on at a label if the unsigned comparison holds."""
        source, register, immediate = _operand(right)
        self._jumps[len(self._slots)] = label
        self._add(_JMP | source | condition, left, register, immediate=immediate)

    def map(self, destination: Register, fd: int) -> None:
        """Set a register to a map, for helpers; the loader puts the map's address for the descriptor."""
        self._add_wide(destination, _PSEUDO_MAP_FD, fd, 0)

    def map_value(self, destination: Register, fd: int, offset: int) -> None:
        """Set a register to the address of a byte in the one value of an array map: no look-up is needed."""
        self._add_wide(destination, _PSEUDO_MAP_VALUE, fd, offset)

    def call(self, helper: int) -> None:
        """Call a helper: arguments in R1–R5, result in R0."""
        self._add(_JMP | 0x80, immediate=helper)

    def exit(self) -> None:
        """Return R0."""
        self._add(_JMP | 0x90)

    def assemble(self) -> tuple[Instruction, ...]:
        """Give the program with every jump's distance filled in."""
        slots = list(self._slots)
        for at, label in self._jumps.items():
            if label not in self._labels:
                raise ValueError(f"label {label}: expected a place, found none")
            slots[at] = replace(slots[at], offset=self._labels[label] - at - 1)
        return tuple(slots)

    def _add(self, code: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> None:
        slot = Instruction(code=code, destination=destination, source=source, offset=offset, immediate=immediate)
        self._slots.append(slot)

    def _add_wide(self, destination: Register, kind: int, low: int, high: int) -> None:
        self._add(_LOAD_IMMEDIATE64, destination, kind, immediate=low)
        self._add(0, immediate=high)


def _operand(operand: Operand) -> tuple[int, int, int]:
    """Give source bit, register and immediate."""
    if isinstance(operand, Register):
        return _REGISTER, operand, 0
    if not -(1 << 31) <= operand < 1 << 31:
        raise ValueError(f"immediate {operand}: expected 32 bits with sign")
    return _IMMEDIATE, 0, operand
