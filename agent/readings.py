"""What the driver says of its GPUs at one moment, as values. What it does not say is a value too, and never a zero.

No driver is asked here and nothing is judged: pids are as the driver gives them, and some drivers give wrong ones.
"""

from __future__ import annotations

from dataclasses import dataclass

DEAD_ENTRIES_KEPT = 128
"""The accounting ring of processes that ended (open-gpu-kernel-modules); NVML tells only the size for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A reading that could not be had: NVML's own word for why ('GPU_IS_LOST'), and of which function."""

    reason: str
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Which GPU it is. The minor number is its device node's: /dev/nvidia<minor>."""

    uuid: str
    index: int
    pci_bus_id: str
    name: str
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownGpu:
    """A GPU that the driver counts, but does not describe."""

    index: int
    why: Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """All GPUs of the host. Unless `all_pids`, the driver leaves processes out that the reader could not name."""

    driver_version: str | Unavailable
    all_pids: bool
    known: tuple[Gpu, ...]
    unknown: tuple[UnknownGpu, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One row of a process list; memory is None where the driver does not tell it."""

    pid: int
    memory_bytes: int | None
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessList:
    """One of the driver's lists, whole."""

    rows: tuple[Process, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """S2: who has a context on the GPU."""

    compute: ProcessList | Unavailable
    graphics: ProcessList | Unavailable
    mps: ProcessList | Unavailable

    @property
    def rows(self) -> tuple[Process, ...]:
        """All that was seen; nothing can be concluded from its absence unless `complete`."""
        seen = (self.compute, self.graphics, self.mps)
        return tuple(row for rows in seen if isinstance(rows, ProcessList) for row in rows.rows)

    @property
    def complete(self) -> bool:
        """Whether all three lists could be read."""
        return not any(isinstance(rows, Unavailable) for rows in (self.compute, self.graphics, self.mps))


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilisationRow:
    """What a process did in the sample period that ended at the timestamp (the driver's clock)."""

    pid: int
    timestamp_us: int
    sm_percent: int
    memory_percent: int
    encoder_percent: int
    decoder_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilisation:
    """S3: what processes did since the last reading. Hand `cursor_us` to the next one.

    `rejected` counts rows that cannot be true. `restarted`: the cursor was newer than all that the driver has, so that
    it was of another clock or another driver, and reading began anew.
    """

    rows: tuple[UtilisationRow, ...]
    cursor_us: int
    rejected: int = 0
    restarted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountingRow:
    """The life of a process on the GPU; `lived_ms` is None while it runs."""

    pid: int
    running: bool
    started_us: int
    lived_ms: int | None
    max_memory_bytes: int | None
    gpu_percent: int | None
    memory_percent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRow:
    """A process that is in the list, but whose life could not be read."""

    pid: int
    why: Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A process that ended, told from others that had its pid by when it started."""

    pid: int
    started_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountingPast:
    """What has to be remembered from one accounting reading to the next, and beyond the reader's death.

    `found_on` is the mode as it was before we came: it is put back when we go.
    """

    found_on: bool
    epoch: int
    driver_version: str | None
    energy_millijoules: int | None
    dead: tuple[Life, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """S4: who used the GPU since accounting is on, the dead included. Hand `past` to the next reading.

    `reset` says why a new epoch began: what happened before it may have been forgotten; empty when none did.
    `overwritten`: the ring of the dead went round since the last reading, so that some may be missing.
    """

    rows: tuple[AccountingRow, ...]
    unknown: tuple[UnknownRow, ...]
    buffer_size: int | Unavailable
    past: AccountingPast
    reset: str
    overwritten: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The GPU's memory; `reserved_bytes` is None where the driver counts it as used."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    reserved_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MigMode:
    """Whether the GPU is divided into instances, now and after its next reset."""

    current: bool
    pending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The GPU as a whole: what S7 holds against the sum of its processes. Energy counts since the driver was loaded."""

    memory: Memory | Unavailable
    power_milliwatts: int | Unavailable
    energy_millijoules: int | Unavailable
    mig: MigMode | Unavailable
