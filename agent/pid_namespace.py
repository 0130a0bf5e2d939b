"""Whether this process sees the pids of the whole host: in other pid namespaces the driver leaves foreign ones out."""

from __future__ import annotations

from pathlib import Path

FIRST = "pid:[4026531836]"  # PROC_PID_INIT_INO of include/linux/proc_ns.h


def is_first(link: Path = Path("/proc/self/ns/pid")) -> bool:
    """Whether it is the first pid namespace, the parent of all others; False where that cannot be told."""
    try:
        return str(link.readlink()) == FIRST
    except OSError:
        return False
