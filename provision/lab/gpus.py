"""Which device numbers stand for GPUs in the lab: numbers that really open, and that nothing else of a host uses.

The virtual console's memory devices open cleanly, by several processes at once, and reading them harms nobody. The
true number of NVIDIA's driver (195) would fail with ENXIO on a machine without it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import uuid
from pathlib import Path

from provision.errors import InvalidInput
from provision.lab.devices import DeviceNumber

CONSOLE_MAJOR = 7
CONTROL_MINOR = 128
TERMINAL_MAJOR = 4
MAX_GPUS = 8
NAMESPACE = uuid.UUID("0b6f2f0c-6b7f-5b5e-9a53-4c6a3a1de0aa")


def gpu_devices(count: int) -> dict[str, DeviceNumber]:
    """Give a host's nodes for `count` GPUs: name below /dev → number; raises InvalidInput beyond what there is."""
    if not 0 <= count <= MAX_GPUS:
        raise InvalidInput((f"gpus: expected 0 to {MAX_GPUS} a host, found {count}",))
    nodes = {f"nvidia{index}": DeviceNumber(major=CONSOLE_MAJOR, minor=index) for index in range(count)}
    return {**nodes, "nvidiactl": DeviceNumber(major=CONSOLE_MAJOR, minor=CONTROL_MINOR)}


def gpu_uuid(host: str, index: int) -> str:
    """Give the UUID of a host's GPU, the same each time."""
    return f"GPU-{uuid.uuid5(NAMESPACE, f'{host}/{index}')}"


def wake_devices(count: int) -> tuple[str, ...]:
    """See to it that the numbers of `count` GPUs open on this machine; returns the names of those that do not.

    A console that was never used has no device memory until its terminal was opened once.
    """
    return tuple(name for name, number in gpu_devices(count).items() if not _opens(number) and not _woken(number))


def _woken(number: DeviceNumber) -> bool:
    if number.minor in (0, CONTROL_MINOR):
        return False
    with contextlib.suppress(OSError):
        _open_once(DeviceNumber(major=TERMINAL_MAJOR, minor=number.minor))
    return _opens(number)


def _opens(number: DeviceNumber) -> bool:
    try:
        _open_once(number)
    except OSError:
        return False
    return True


def _open_once(number: DeviceNumber) -> None:
    with tempfile.TemporaryDirectory(prefix="timelock-", dir="/dev") as folder:
        node = Path(folder, "node")
        os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(number.major, number.minor or 0))
        os.close(os.open(node, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
