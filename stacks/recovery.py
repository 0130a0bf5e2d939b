"""After a crash: let go of what a dead process holds, and enter into the state what it was about to create.

Never asks a host; it only makes the state fit for the next update, destroy or refresh, or ends a removal of it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from stacks.command import Cli
from stacks.errors import StackLocked
from stacks.settings import StackPlace
from stacks.state import Lock, adopt, has_pending, read_locks

LOCK_WAIT_SECONDS = 30.0
LOCK_POLL_SECONDS = 0.1


def recover(cli: Cli, place: StackPlace, stack: str) -> None:
    """Free the stack's lock from dead owners, and adopt creates that were cut off.

    Raises:
        StackLocked: the owner of the lock is elsewhere, or lives and does not let go within 30 s.
        StateCorrupt: the state cannot be read.
    """
    _free_locks(place, stack)
    if has_pending(place.state_file(stack)):
        _adopt_pending(cli, place, stack)


def remove(place: StackPlace, stack: str) -> None:
    """Remove an empty stack from a file:// backend: `pulumi stack rm --remove-backups`, without starting the CLI again.

    Raises:
        StackLocked: an operation on it still lives.
    """
    state_file = place.state_file(stack)
    if state_file is not None:
        state_file.unlink(missing_ok=True)
    forget(place, stack)


def forget(place: StackPlace, stack: str) -> None:
    """Finish the removal of a stack whose state is gone: what is left of it holds the booking's secrets, encrypted.

    Raises:
        StackLocked: an operation on it still lives.
    """
    _free_locks(place, stack)
    for path in place.remains(stack):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _free_locks(place: StackPlace, stack: str) -> None:
    """What `pulumi cancel` does, but only for the dead, and without reading a state that may be cut off."""
    limit = time.monotonic() + LOCK_WAIT_SECONDS
    while living := [lock for lock in read_locks(place.lock_dir(stack)) if lock.alive]:
        if time.monotonic() > limit or not living[0].is_here:
            raise _held(living[0], stack)
        time.sleep(LOCK_POLL_SECONDS)
    for lock in read_locks(place.lock_dir(stack)):
        lock.path.unlink(missing_ok=True)
    state_file = place.state_file(stack)
    if state_file is not None:
        for cut_off in state_file.parent.glob(f"{state_file.name}.*.tmp"):
            cut_off.unlink(missing_ok=True)


def _adopt_pending(cli: Cli, place: StackPlace, stack: str) -> None:
    """Secrets stay encrypted on the way: neither file holds them in clear."""
    handle, name = tempfile.mkstemp(dir=place.work_dir, prefix="state-", suffix=".json")
    os.close(handle)
    file = Path(name)
    try:
        cli.run(["stack", "export", "--stack", stack, "--file", name], place.work_dir, {})
        exported = json.loads(file.read_text())
        exported["deployment"] = adopt(exported["deployment"])
        file.write_text(json.dumps(exported))
        cli.run(["stack", "import", "--stack", stack, "--file", name], place.work_dir, {})
    finally:
        file.unlink(missing_ok=True)


def _held(lock: Lock, stack: str) -> StackLocked:
    return StackLocked(
        f"stack {stack}: expected no other operation, found one by pid {lock.pid} on {lock.host} since {lock.since}",
        next_step=f"wait for it; if no such process runs there any more, delete {lock.path}; then resume the booking",
    )
