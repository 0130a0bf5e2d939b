"""A host for tests that is none: a private copy of this machine's files, with processes and network of its own."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from provision.deploys.failures import of_command
from provision.deploys.item import Change, Command
from provision.deploys.reconcile import OnStep
from provision.deploys.script import framed

_ENTER = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$0" && cd "$0" && mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/run
mount --rbind /dev root/dev
touch root/run/ready
echo ready
exec sleep infinity
"""


class Sandbox:
    """Runs what a host would run; implements `reconcile.Hands`."""

    def __init__(self, pid: int, root: Path) -> None:
        self._enter = ["nsenter", "-t", str(pid), "-m", "-n", "-p", "--", "chroot", str(root)]
        self.acts = 0

    def look(self, script: str) -> str:
        return self.sh(script)

    def act(self, booking: str, step: str, commands: Sequence[Command]) -> None:
        self.acts += 1
        for command in commands:
            done = self._run(framed(command, booking, "timelock-test"), command.stdin)
            if done.returncode:
                raise of_command(step, done.stderr)

    def sh(self, script: str) -> str:
        done = self._run(script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self, script: str, stdin: str) -> int:
        return self._run(script, stdin).returncode

    def do(self, changes: Sequence[Change]) -> None:
        """Carry out decided changes of an item, twice: commands are idempotent."""
        for _ in range(2):
            self.act("demo", "test", [command for change in changes for command in change.commands])

    def seen(self, probe: str) -> str:
        return self.sh(f"({probe}) 2>/dev/null </dev/null; :").strip()

    def _run(self, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._enter, "sh", "-c", script], input=stdin, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a mount namespace")
    place = tmp_path / "sandbox"
    place.mkdir()
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            if process.stdout.readline() != "ready\n":
                pytest.skip(f"no overlay of / on this machine: {process.stderr.read().strip()}")
            first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
            yield Sandbox(int(first), place / "root")
        finally:
            process.kill()


@pytest.fixture
def steps() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def on_step(steps: list[tuple[str, str]]) -> OnStep:
    return lambda step, state: steps.append((step, state))
