"""The Pulumi CLI as this package runs it: one process at a time, whose pid we keep so that it can be stopped.

The Automation API starts the CLI four times and more for one `up` (version, select, outputs, history); here it is
started once, because the stack is named, its outputs come with the events and nobody asks for its history.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO

from pulumi.automation import CommandResult, LocalWorkspace, OutputMap, PulumiCommand, Stack, UpdateSummary
from pulumi.automation._cmd import OnOutput
from pulumi.automation._stack import StackInitMode
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from stacks.settings import PULUMI_VERSION


class Cli(PulumiCommand):
    """Runs the CLI at `path` in the environment given, and nothing else of ours."""

    def __init__(self, path: str, environment: Mapping[str, str]) -> None:
        self.command = path
        self.version = VersionInfo.parse(PULUMI_VERSION)
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._interrupts = 0
        self._lock = threading.Lock()

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to stop."""
        return self._interrupts > 0

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """Run the CLI to its end.

        Raises:
            CommandError: it failed, or was interrupted before it began.
        """
        environment = {**self._environment, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        with self._start(args, cwd, environment) as process:
            result = _gather(process, on_output, on_error)
        self._process = None
        if result.code != 0:
            raise create_command_error(result)
        return result

    def interrupt(self) -> None:
        """Ask the CLI to stop: once, it finishes what it is doing; twice, at once. No other is started after that."""
        with self._lock:
            self._interrupts += 1
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill the CLI and its provider."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self, args: list[str], cwd: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._interrupts:
                raise create_command_error(CommandResult(stdout="", stderr="interrupted", code=-signal.SIGINT))
            self._process = subprocess.Popen(
                [*_dies_with_us(), self.command, "--non-interactive", *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=environment,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            return self._process


class BookingStack(Stack):
    """A stack that is named, not selected, and that asks the CLI neither for outputs nor for history."""

    def __init__(self, name: str, workspace: LocalWorkspace) -> None:
        self.name = name
        self.workspace = workspace
        self._mode = StackInitMode.SELECT

    def outputs(self) -> OutputMap:
        """None: they come with the events."""
        return {}

    def info(self, show_secrets: bool = True) -> UpdateSummary:
        """An empty summary: the events tell more."""
        now = datetime.now(UTC)
        return UpdateSummary(
            kind="update", start_time=now, message="", environment={}, config={}, result="", end_time=now
        )


def _gather(process: subprocess.Popen[str], on_output: OnOutput | None, on_error: OnOutput | None) -> CommandResult:
    chunks: tuple[list[str], list[str]] = ([], [])
    readers = [
        threading.Thread(target=_read, args=(stream, callback, lines), daemon=True)
        for stream, callback, lines in zip((process.stdout, process.stderr), (on_output, on_error), chunks, strict=True)
    ]
    for reader in readers:
        reader.start()
    code = process.wait()
    for reader in readers:
        reader.join()
    return CommandResult(stdout="\n".join(chunks[0]), stderr="\n".join(chunks[1]), code=code)


def _read(stream: IO[str], callback: OnOutput | None, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip())
        if callback is not None:
            callback(line.rstrip())


def _dies_with_us() -> tuple[str, ...]:
    """What makes the kernel interrupt the CLI when this process is killed, so that it lets go of the stack."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "INT") if setpriv else ()
