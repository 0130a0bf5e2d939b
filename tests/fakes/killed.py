"""Runs an operation on a lab in a process of its own and kills that, SIGKILL, at its n-th step with an effect.

Steps are counted by Python's audit events, not by time: files opened for writing, made, renamed, removed; programs
started; connections made. `python -m tests.fakes.killed OPERATION LAB AT` prints how many steps there were.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provision.home import Home
from provision.lab.lab import Lab

REPOSITORY = Path(__file__).parents[2]
LIMIT_SECONDS = 120
EFFECTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.symlink", "os.truncate")
OPERATIONS: dict[str, Callable[[Lab], object]] = {
    "up": lambda lab: lab.up(hosts=1, gpus=1, image="minimal"),
    "down": lambda lab: lab.down(),
}


def steps(lab: Lab, operation: str, *, kill_at: int = 0, before: str = "") -> int | None:
    """Run the operation; give its number of steps, or None where it was killed before its end.

    `before` is a shell command that changes what mounts the operation sees, and nothing of the machine's.
    """
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TIMELOCK_HOME": str(lab.home.root),
        "TIMELOCK_CACHE": str(lab.home.cache),
    }
    words = [sys.executable, "-m", __name__, operation, lab.name, str(kill_at)]
    if before:
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{before} && exec "$@"', "sh", *words]
    done = subprocess.run(
        words, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, check=False, timeout=LIMIT_SECONDS
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, f"{operation} of {lab.name} ended with status {done.returncode}"
    return int(done.stdout)


def main(operation: str, name: str, kill_at: int) -> None:
    count = 0

    def step(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in (*EFFECTS, "subprocess.Popen", "socket.connect") or (event == "open" and _writes(*arguments)):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    lab = Lab(Home.from_env(), name)
    sys.addaudithook(step)
    OPERATIONS[operation](lab)
    sys.stdout.write(f"{count}\n")


def _writes(path: object, mode: object, flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR)) and path != os.devnull


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
