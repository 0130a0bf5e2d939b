"""Ending a removal of a stack that was cut off."""

import json
import socket
from pathlib import Path

from stacks.recovery import forget
from stacks.settings import StackPlace
from tests.stacks.test_settings import place

__all__ = ["place"]

LEFT = (
    "stacks/timelock/{}.json.bak",
    "stacks/timelock/{}.json.1234.tmp",
    "history/timelock/{}/one.checkpoint.json",
    "backups/timelock/{}/one.json",
    "locks/organization/timelock/{}/lock.json",
)
DEAD = json.dumps({"pid": 2**22 + 1, "hostname": socket.gethostname(), "timestamp": "2026-01-01T00:00:00Z"})


def test_nothing_of_the_stack_is_left_and_all_of_others(place: StackPlace) -> None:
    for stack in ("demo", "demo2"):
        for name in LEFT:
            write(place, name.format(stack))
    kept = [write(place, "stacks/timelock/demo2.json"), write(place, "meta.yaml")]
    forget(place, "demo")
    forget(place, "demo")
    assert place.backend_dir is not None
    left = {path for path in place.backend_dir.rglob("*") if path.is_file()}
    assert left == {*kept, *(place.backend_dir / ".pulumi" / name.format("demo2") for name in LEFT)}


def write(place: StackPlace, name: str) -> Path:
    assert place.backend_dir is not None
    path = place.backend_dir / ".pulumi" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(DEAD)
    return path
