"""Runs the machine's tools for the lab: each with a limit, each failure said in words that help.

Runs on this machine only; nothing here reaches a host.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from provision.errors import MachineCannot

PACKAGES = {"setpriv": "util-linux", "setsid": "util-linux", "unshare": "util-linux"}
LAST_LINES = 6

# A tool started behind these words dies with its caller, SIGKILL included, and its mounts vanish with it.
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL"),
)


def run(
    argv: Sequence[str | Path],
    *,
    timeout_seconds: float,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a tool and return its standard output; raises MachineCannot when it is missing, too slow or fails."""
    words = [str(word) for word in argv]
    require(words[0], _name(words))
    try:
        done = subprocess.run(
            words,
            input=stdin,
            cwd=cwd,
            env=env,
            timeout=timeout_seconds,
            capture_output=True,
            text=True,
            check=False,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise MachineCannot(
            f"{_name(words)}: expected an end within {timeout_seconds:.0f} s, found it still at work",
            next_step="try again; if it stays so, look at this machine's load and at its package sources",
        ) from error
    except OSError as error:
        raise cannot(_name(words), error) from error
    if done.returncode:
        raise _failed(_name(words), done.returncode, done.stderr.strip() or done.stdout.strip())
    return done.stdout


def require(*names: str) -> None:
    """Raise MachineCannot if one of these programs is not on this machine."""
    for name in names:
        if shutil.which(name) is None:
            package = PACKAGES.get(name, name)
            raise MachineCannot(
                f"{name}: expected this program on the machine, found none", next_step=f"apt-get install {package}"
            )


def cannot(what: str, error: OSError) -> MachineCannot:
    """Say an OSError of this machine as a MachineCannot with what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(what)
    return MachineCannot(f"{what}: {error}", next_step="check the path and that you are root")


def _failed(name: str, status: int, said: str) -> MachineCannot:
    if "no space left on device" in said.lower():
        return _disk_full(name)
    last = "\n".join(said.splitlines()[-LAST_LINES:])
    return MachineCannot(
        f"{name}: expected it to succeed, it ended with status {status}:\n{last}",
        next_step="mend what it says, then try again",
    )


def _disk_full(what: str) -> MachineCannot:
    return MachineCannot(
        f"{what}: the disk is full",
        next_step="free some space (`df -h`; TIMELOCK_CACHE may name another disk), then try again",
    )


def _name(words: Sequence[str]) -> str:
    """Name the tool itself, not what contains it."""
    return words[len(CONTAINED)] if tuple(words[: len(CONTAINED)]) == CONTAINED else words[0]
