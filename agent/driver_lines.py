"""What the driver says of each GPU, as lines for people and as JSON for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from agent.nvml_sources import Reading
from agent.readings import Gpu, Gpus, Memory, Processes, ProcessList, Unavailable, Whole

VERSION = 1


def document(gpus: Gpus, processes: Reading[Processes], whole: Reading[Whole]) -> dict[str, object]:
    """Return all that was read; what could not be read says so, and is never zero."""
    return {
        "v": VERSION,
        "driver_version": _plain(gpus.driver_version),
        "all_pids": gpus.all_pids,
        "began_at_ns": processes.began_at_ns,
        "ended_at_ns": whole.ended_at_ns,
        "gpus": [
            {**asdict(gpu), "processes": _plain(processes.of[gpu.uuid]), "whole": _plain(whole.of[gpu.uuid])}
            for gpu in gpus.known
        ],
        "unknown": [asdict(gpu) for gpu in gpus.unknown],
    }


def lines(gpus: Gpus, processes: Reading[Processes], whole: Reading[Whole]) -> Iterator[str]:
    """Yield the same for a person: a line a GPU, and below it a line a process."""
    yield f"driver {_said(gpus.driver_version)}"
    if not gpus.all_pids:
        yield "not in the first pid namespace: processes of others may be missing"
    for gpu in gpus.known:
        yield _gpu(gpu, whole.of[gpu.uuid])
        yield from (f"    {line}" for line in _processes(processes.of[gpu.uuid]))
    for unknown in gpus.unknown:
        yield f"{unknown.index}  {_said(unknown.why)}"


def _gpu(gpu: Gpu, whole: Whole | Unavailable) -> str:
    head = f"{gpu.index}  {gpu.uuid}  {gpu.name}"
    if isinstance(whole, Unavailable):
        return f"{head}  {_said(whole)}"
    memory = whole.memory
    used = f"{memory.used_bytes} of {memory.total_bytes} bytes used" if isinstance(memory, Memory) else _said(memory)
    power = f"{whole.power_milliwatts} mW" if isinstance(whole.power_milliwatts, int) else _said(whole.power_milliwatts)
    return f"{head}  {used}  {power}"


def _processes(found: Processes | Unavailable) -> Iterator[str]:
    if isinstance(found, Unavailable):
        yield _said(found)
        return
    for kind in ("compute", "graphics", "mps"):
        listed: ProcessList | Unavailable = getattr(found, kind)
        if isinstance(listed, Unavailable):
            yield f"{kind}: {_said(listed)}"
            continue
        for row in listed.rows:
            memory = "memory unknown" if row.memory_bytes is None else f"{row.memory_bytes} bytes"
            yield f"{kind}: process {row.pid}, {memory}"


def _said(value: str | Unavailable) -> str:
    return f"not available: {value.function}: {value.reason}" if isinstance(value, Unavailable) else value


def _plain(value: object) -> object:
    """Return a reading as JSON has it; one that is not there says why."""
    if isinstance(value, Unavailable):
        return {"unavailable": asdict(value)}
    return value if isinstance(value, str) else asdict(value)  # type: ignore[call-overload]
