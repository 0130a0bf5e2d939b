"""NVML's structures into readings. Pure, and without pynvml: a structure is anything with the fields of nvml.h."""

from __future__ import annotations

from typing import Any

from agent.readings import AccountingRow, Memory, Process, UtilisationRow


def known(number: int) -> int | None:
    """NVML's 'not available' is the greatest number of its type (NVML_VALUE_NOT_AVAILABLE)."""
    return None if number in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else number


def process(info: Any, kind: str) -> Process:
    """From nvmlProcessInfo_t."""
    return Process(pid=info.pid, memory_bytes=known(info.usedGpuMemory), kind=kind)


def utilisation_row(sample: Any) -> UtilisationRow:
    """From nvmlProcessUtilizationSample_t."""
    return UtilisationRow(
        pid=sample.pid,
        timestamp_us=sample.timeStamp,
        sm_percent=sample.smUtil,
        memory_percent=sample.memUtil,
        encoder_percent=sample.encUtil,
        decoder_percent=sample.decUtil,
    )


def accounting_row(pid: int, stats: Any) -> AccountingRow:
    """From nvmlAccountingStats_t, whose time is 0 while the process runs: unknown yet, not nothing."""
    return AccountingRow(
        pid=pid,
        running=bool(stats.isRunning),
        started_us=stats.startTime,
        lived_ms=None if stats.isRunning else stats.time,
        max_memory_bytes=known(stats.maxMemoryUsage),
        gpu_percent=known(stats.gpuUtilization),
        memory_percent=known(stats.memoryUtilization),
    )


def memory(info: Any) -> Memory:
    """From nvmlMemory_t or nvmlMemory_v2_t; only the latter tells what is reserved."""
    return Memory(
        total_bytes=info.total,
        used_bytes=info.used,
        free_bytes=info.free,
        reserved_bytes=getattr(info, "reserved", None),
    )
