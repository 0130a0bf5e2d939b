"""Reads the driver through NVML. The only importer of pynvml.

Readings are values; an error of NVML is one too (`Unavailable`), so that a lost GPU hides no other. A call can hang in
the driver, and nothing in its own process can end it: `agent.nvml_watch` reads in a process that can be killed. No
threads here, and no judgement of pids: some drivers give wrong ones.

Process lists and accounting rows are read into buffers of our own: pynvml asks twice for a list, and where memory is
not available its wrapper of accounting raises TypeError.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import pynvml

from agent import nvml_rows, pid_namespace
from agent.epoch import follow, overwritten
from agent.errors import NvmlUnavailable
from agent.readings import (
    Accounting,
    AccountingPast,
    AccountingRow,
    Gpu,
    Gpus,
    Life,
    Memory,
    MigMode,
    Processes,
    ProcessList,
    Unavailable,
    UnknownGpu,
    UnknownRow,
    Utilisation,
    UtilisationRow,
    Whole,
)
from agent.samples import advance, begin_anew

ROWS_AT_FIRST = 64
ROWS_LIMIT = 8192  # the driver lists 950 processes at most
TRIES = 5
REASONS = {pynvml.NVML_SUCCESS: "SUCCESS"} | {
    code: name.removeprefix("NVML_ERROR_")
    for name, code in vars(pynvml).items()
    if name.startswith("NVML_ERROR_") and isinstance(code, int)
}
LISTS = {"compute": "Compute", "graphics": "Graphics", "mps": "MPSCompute"}


class Nvml:
    """The driver, opened. Close it with `close`."""

    def __init__(self, wall_clock_ns: Callable[[], int]) -> None:
        self._wall_clock_ns = wall_clock_ns
        self._handles: dict[str, Any] = {}
        self._rows = (pynvml.c_nvmlProcessInfo_v3_t * ROWS_AT_FIRST)()

    @classmethod
    def open(cls, wall_clock_ns: Callable[[], int] = time.time_ns) -> Nvml:
        """Load the driver's library and start it.

        Raises:
            NvmlUnavailable: there is no library, no driver, or no permission.
        """
        started = _ask(pynvml.nvmlInit)
        if isinstance(started, Unavailable):
            raise NvmlUnavailable(
                f"expected a running NVIDIA driver, but {started.function} found {started.reason}",
                next_step="see that nvidia-smi works on this host, as root and outside of any container",
            )
        return cls(wall_clock_ns)

    def close(self) -> None:
        """Let the driver go."""
        _ask(pynvml.nvmlShutdown)

    def driver_version(self) -> str | Unavailable:
        """The version of the kernel driver."""
        version: str | Unavailable = _ask(pynvml.nvmlSystemGetDriverVersion)
        return version

    def gpus(self) -> Gpus | Unavailable:
        """All GPUs that the driver counts, those that it cannot describe too."""
        count = _ask(pynvml.nvmlDeviceGetCount)
        if isinstance(count, Unavailable):
            return count
        found = [self._gpu(index) for index in range(count)]
        return Gpus(
            driver_version=self.driver_version(),
            all_pids=pid_namespace.is_first(),
            known=tuple(gpu for gpu in found if isinstance(gpu, Gpu)),
            unknown=tuple(gpu for gpu in found if isinstance(gpu, UnknownGpu)),
        )

    def processes(self, uuid: str) -> Processes | Unavailable:
        """S2: the compute, graphics and MPS lists."""
        handle = self._handle(uuid)
        if isinstance(handle, Unavailable):
            return handle
        return Processes(**{kind: self._process_list(handle, kind) for kind in LISTS})

    def utilisation(self, uuid: str, since_us: int) -> Utilisation | Unavailable:
        """S3: samples after the cursor of the last reading; 0 for all that the driver has."""
        handle = self._handle(uuid)
        if isinstance(handle, Unavailable):
            return handle
        now_us = self._wall_clock_ns() // 1000
        rows = _samples(handle, since_us)
        if isinstance(rows, Unavailable):
            return rows
        taken = advance(rows, since_us, now_us)
        if taken.rows or since_us == 0:
            return taken
        everything = _samples(handle, 0)
        return everything if isinstance(everything, Unavailable) else begin_anew(everything, since_us, now_us)

    def accounting(self, uuid: str, past: AccountingPast | None) -> Accounting | Unavailable:
        """S4: who used the GPU since accounting is on; switches it on where it is off (see `restore_accounting`)."""
        handle = self._handle(uuid)
        if isinstance(handle, Unavailable):
            return handle
        was_on = _switch_accounting_on(handle)
        if isinstance(was_on, Unavailable):
            return was_on
        pids = _ask(pynvml.nvmlDeviceGetAccountingPids, handle)
        if isinstance(pids, Unavailable):
            return pids
        read = [_accounting_row(handle, pid) for pid in pids]
        rows = tuple(row for row in read if isinstance(row, AccountingRow))
        now = self._accounting_present(uuid, rows, found_on=was_on)
        remembered, reset = (now, "") if past is None else follow(past, now, pids, was_on=was_on)
        return Accounting(
            rows=rows,
            unknown=tuple(row for row in read if isinstance(row, UnknownRow)),
            buffer_size=_ask(pynvml.nvmlDeviceGetAccountingBufferSize, handle),
            past=remembered,
            reset=reset,
            overwritten=overwritten(past, now),
        )

    def restore_accounting(self, uuid: str, past: AccountingPast) -> Unavailable | None:
        """Put the accounting mode back as it was found. What accounting holds is lost when it is switched off."""
        handle = self._handle(uuid)
        if isinstance(handle, Unavailable):
            return handle
        if past.found_on:
            return None
        return _ask_done(pynvml.nvmlDeviceSetAccountingMode, handle, pynvml.NVML_FEATURE_DISABLED)

    def whole(self, uuid: str) -> Whole:
        """S7: memory, power, energy and MIG mode of the whole GPU."""
        return Whole(
            memory=self.memory(uuid),
            power_milliwatts=self.power_milliwatts(uuid),
            energy_millijoules=self.energy_millijoules(uuid),
            mig=self.mig_mode(uuid),
        )

    def memory(self, uuid: str) -> Memory | Unavailable:
        """Memory in use; drivers without the second version count what they reserve as used."""
        found = self._of(uuid, pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlMemory_v2)
        if isinstance(found, Unavailable) and found.reason == "FUNCTION_NOT_FOUND":
            found = self._of(uuid, pynvml.nvmlDeviceGetMemoryInfo)
        return found if isinstance(found, Unavailable) else nvml_rows.memory(found)

    def power_milliwatts(self, uuid: str) -> int | Unavailable:
        """What the GPU draws now."""
        power: int | Unavailable = self._of(uuid, pynvml.nvmlDeviceGetPowerUsage)
        return power

    def energy_millijoules(self, uuid: str) -> int | Unavailable:
        """What the GPU drew since the driver was loaded."""
        energy: int | Unavailable = self._of(uuid, pynvml.nvmlDeviceGetTotalEnergyConsumption)
        return energy

    def mig_mode(self, uuid: str) -> MigMode | Unavailable:
        """Whether the GPU is divided."""
        modes = self._of(uuid, pynvml.nvmlDeviceGetMigMode)
        return modes if isinstance(modes, Unavailable) else MigMode(current=bool(modes[0]), pending=bool(modes[1]))

    def _gpu(self, index: int) -> Gpu | UnknownGpu:
        handle = _ask(pynvml.nvmlDeviceGetHandleByIndex, index)
        if isinstance(handle, Unavailable):
            return UnknownGpu(index=index, why=handle)
        uuid, name = _ask(pynvml.nvmlDeviceGetUUID, handle), _ask(pynvml.nvmlDeviceGetName, handle)
        pci, minor = _ask(pynvml.nvmlDeviceGetPciInfo, handle), _ask(pynvml.nvmlDeviceGetMinorNumber, handle)
        for fact in (uuid, name, pci, minor):
            if isinstance(fact, Unavailable):
                return UnknownGpu(index=index, why=fact)
        self._handles[uuid] = handle
        return Gpu(uuid=uuid, index=index, pci_bus_id=pci.busId, name=name, minor=minor)

    def _handle(self, uuid: str) -> Any:
        if uuid not in self._handles:
            handle = _ask(pynvml.nvmlDeviceGetHandleByUUID, uuid)
            if isinstance(handle, Unavailable):
                return handle
            self._handles[uuid] = handle
        return self._handles[uuid]

    def _of(self, uuid: str, function: Callable[..., Any], *arguments: object) -> Any:
        handle = self._handle(uuid)
        return handle if isinstance(handle, Unavailable) else _ask(function, handle, *arguments)

    def _process_list(self, handle: Any, kind: str) -> ProcessList | Unavailable:
        name = f"nvmlDeviceGet{LISTS[kind]}RunningProcesses"
        rows = self._read_rows(f"{name}_v3", handle, kind)
        if isinstance(rows, Unavailable) and rows.reason == "FUNCTION_NOT_FOUND":
            return self._read_rows(f"{name}_v2", handle, kind)  # an older driver; the same structure
        return rows

    def _read_rows(self, name: str, handle: Any, kind: str) -> ProcessList | Unavailable:
        room = len(self._rows)
        count = ctypes.c_uint(room)
        why = _call(name, handle, ctypes.byref(count), self._rows)
        if why is None:
            return ProcessList(rows=tuple(nvml_rows.process(self._rows[i], kind) for i in range(count.value)))
        if why.reason != "INSUFFICIENT_SIZE" or room >= ROWS_LIMIT:
            return why
        self._rows = (pynvml.c_nvmlProcessInfo_v3_t * min(ROWS_LIMIT, 2 * max(room, count.value)))()
        return self._read_rows(name, handle, kind)

    def _accounting_present(self, uuid: str, rows: tuple[AccountingRow, ...], *, found_on: bool) -> AccountingPast:
        version, energy = self.driver_version(), self.energy_millijoules(uuid)
        return AccountingPast(
            found_on=found_on,
            epoch=1,
            driver_version=None if isinstance(version, Unavailable) else version,
            energy_millijoules=None if isinstance(energy, Unavailable) else energy,
            dead=tuple(Life(pid=row.pid, started_us=row.started_us) for row in rows if not row.running),
        )


def _ask(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a wrapper of pynvml; its error becomes a value."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        return _unavailable(error.value, function.__name__)


def _ask_done(function: Callable[..., Any], *arguments: object) -> Unavailable | None:
    answer = _ask(function, *arguments)
    return answer if isinstance(answer, Unavailable) else None


def _call(name: str, *arguments: object) -> Unavailable | None:
    """Call the library itself; None when it went well."""
    function = getattr(pynvml.nvmlLib, name, None)
    code = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND if function is None else function(*arguments)
    return None if code == pynvml.NVML_SUCCESS else _unavailable(code, name)


def _unavailable(code: int, function: str) -> Unavailable:
    return Unavailable(reason=REASONS.get(code, f"ERROR_{code}"), function=function)


def _samples(handle: Any, since_us: int, tries: int = TRIES) -> list[UtilisationRow] | Unavailable:
    """All samples after a timestamp. They may have become more between pynvml's two calls: then once more."""
    samples = _ask(pynvml.nvmlDeviceGetProcessUtilization, handle, since_us)
    if not isinstance(samples, Unavailable):
        return [nvml_rows.utilisation_row(sample) for sample in samples]
    if samples.reason in ("NOT_FOUND", "SUCCESS"):  # nvml.h: no sample entries; pynvml raises SUCCESS where there are 0
        return []
    return _samples(handle, since_us, tries - 1) if samples.reason == "INSUFFICIENT_SIZE" and tries else samples


def _switch_accounting_on(handle: Any) -> bool | Unavailable:
    """Whether it was on already."""
    mode = _ask(pynvml.nvmlDeviceGetAccountingMode, handle)
    if isinstance(mode, Unavailable):
        return mode
    if mode == pynvml.NVML_FEATURE_ENABLED:
        return True
    refused = _ask_done(pynvml.nvmlDeviceSetAccountingMode, handle, pynvml.NVML_FEATURE_ENABLED)
    return False if refused is None else refused


def _accounting_row(handle: Any, pid: int) -> AccountingRow | UnknownRow:
    stats = pynvml.c_nvmlAccountingStats_t()
    why = _call("nvmlDeviceGetAccountingStats", handle, ctypes.c_uint(pid), ctypes.byref(stats))
    if why is not None:
        return UnknownRow(pid=pid, why=why)
    return nvml_rows.accounting_row(pid, stats)
