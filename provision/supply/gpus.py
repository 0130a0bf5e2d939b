"""The list of a host's GPUs, read with all problems of all its items."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from provision.spelling import did_you_mean
from provision.supply import values
from provision.supply.model import Gpu

T = TypeVar("T")

FIELDS = ("uuid", "index", "model", "memory", "device")

_uuid = values.matching(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"), "a UUID such as GPU-5c1a…")
_device = values.matching(re.compile(r"/dev/[A-Za-z0-9/._-]{1,60}"), "a device such as /dev/nvidia0")


def gpus_of(value: object) -> tuple[Gpu, ...]:
    """Read GPUs, each {uuid, index, model, memory, device}; the device is /dev/nvidia<index> unless given.

    Raises:
        ValueError: one argument a problem, each '[place].field: expected …, found …'.
    """
    listed = values.structured(value)
    if not isinstance(listed, list):
        raise ValueError(f"expected a list of GPUs, each with {', '.join(FIELDS)}; found {values.shown(value)}")
    problems: list[str] = []
    found = [_gpu(item, f"[{place}]", problems) for place, item in enumerate(listed)]
    problems = problems or list(_repeated(found))
    if problems:
        raise ValueError(*problems)
    return tuple(sorted(found, key=lambda gpu: gpu.index))


def _gpu(item: object, place: str, problems: list[str]) -> Gpu:
    if not isinstance(item, Mapping):
        problems.append(f"{place}: expected a mapping with {', '.join(FIELDS)}; found {values.shown(item)}")
        item = {}
    for name in item:
        if name not in FIELDS:
            hint = did_you_mean(str(name), FIELDS)
            problems.append(f"{place}.{name}: unknown field; expected one of {', '.join(FIELDS)}{hint}")

    def read(name: str, reader: Callable[[object], T], otherwise: T) -> T:
        try:
            return reader(item.get(name, values.Missing()))
        except ValueError as error:
            problems.append(f"{place}.{name}: {error}")
            return otherwise

    index = read("index", _index, 0)
    return Gpu(
        uuid=read("uuid", _uuid, ""),
        index=index,
        model=read("model", values.name, ""),
        memory_bytes=read("memory", values.size, 0),
        device=read("device", _device, "") if "device" in item else f"/dev/nvidia{index}",
    )


def _repeated(found: list[Gpu]) -> Iterator[str]:
    columns = {
        "uuid": [gpu.uuid for gpu in found],
        "index": [str(gpu.index) for gpu in found],
        "device": [gpu.device for gpu in found],
    }
    for name, seen in columns.items():
        if len(set(seen)) != len(seen):
            yield f"[].{name}: expected each once, found {', '.join(seen)}"


def _index(value: object) -> int:
    return values.whole(value, 0, 63)
