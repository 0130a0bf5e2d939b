"""Ranges of device numbers: a GPU is known by its number, since a node of it can be made anywhere under any name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from agent.errors import InvalidSetting

MAX_MAJOR, MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1  # MINORBITS, include/linux/kdev_t.h

_WRITTEN = re.compile(r"(\d{1,9}):(?:\*|(\d{1,9})(?:-(?:(\d{1,9}):)?(\d{1,9}))?)", re.ASCII)
NEXT_STEP = "write 195:*, 195:0 or 195:0-195:7; see the numbers with ls -l /dev/nvidia* and in /proc/devices"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DeviceRange:
    """Character devices of one major number, from `first` to `last` minor, both included."""

    major: int
    first: int = 0
    last: int = MAX_MINOR

    def __post_init__(self) -> None:
        if not (0 <= self.major <= MAX_MAJOR and 0 <= self.first <= self.last <= MAX_MINOR):
            raise InvalidSetting(
                f"device {self}: expected a major up to {MAX_MAJOR} and minors up to {MAX_MINOR}, the smaller first",
                next_step=NEXT_STEP,
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes: `195:*`, `195:0` or `195:0-195:7`; raises InvalidSetting."""
        found = _WRITTEN.fullmatch(text)
        if found is None or found[3] not in (None, found[1]):
            raise InvalidSetting(f"device {text!r}: expected MAJOR:FIRST-MAJOR:LAST", next_step=NEXT_STEP)
        if found[2] is None:
            return cls(major=int(found[1]))
        return cls(major=int(found[1]), first=int(found[2]), last=int(found[4] or found[2]))

    def __contains__(self, number: tuple[int, int]) -> bool:
        return number[0] == self.major and self.first <= number[1] <= self.last

    def __str__(self) -> str:
        if (self.first, self.last) == (0, MAX_MINOR):
            return f"{self.major}:*"
        return f"{self.major}:{self.first}" + (f"-{self.major}:{self.last}" if self.last > self.first else "")
