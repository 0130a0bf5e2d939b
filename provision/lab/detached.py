"""Starts a lab's processes so that they outlive the command, hold nothing of it, and can always be found and killed.

The new process first enters its control group and says so; only then is it told to go on. If whoever started it is
gone by that time, it ends by itself: at no instant is there a process that `lab down` could not find.

As `python -m provision.lab.detached` this module is that new process. It imports little, since hosts wait for it.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.errors import MachineCannot

JOINED = b"joined\n"
GO = b"go\n"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def start(module: str, task: Mapping[str, Any], *, procs_files: tuple[Path, ...], log: Path) -> None:
    """Start `module.main(task)` in its own session and control group, its output in `log`.

    `module` may leave the last group of `procs_files` to itself: it finds it as `task["last_group"]`.
    Raises MachineCannot when the process ends before it has entered its group.
    """
    order = {"module": module, "groups": [str(path) for path in procs_files], "task": dict(task)}
    with log.open("ab") as output, _launch(output) as process:
        pipe_in, pipe_out = process.stdin, process.stdout
        if pipe_in is None or pipe_out is None:
            raise MachineCannot(f"{module}: expected pipes to the new process, found none")
        pipe_in.write(json.dumps(order).encode() + b"\n")
        pipe_in.flush()
        if pipe_out.readline() != JOINED:
            raise MachineCannot(
                f"{module}: expected it to enter its control group, it ended first", next_step=f"read {log}"
            )
        pipe_in.write(GO)


def _launch(output: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=output,
        cwd="/",
        env={**ENVIRONMENT, "PYTHONPATH": str(PACKAGE_ROOT)},
        start_new_session=True,
    )


def main() -> None:
    """Be the new process: leave the parent, enter the groups, wait for the word, work."""
    order = json.loads(sys.stdin.buffer.readline())
    if os.fork():
        os._exit(0)
    for file in order["groups"]:
        Path(file).write_text("0")
    os.write(1, JOINED)
    if sys.stdin.buffer.readline() != GO:
        os._exit(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    importlib.import_module(order["module"]).main(order["task"])


if __name__ == "__main__":
    main()
