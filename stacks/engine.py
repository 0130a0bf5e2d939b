"""One operation on one stack, in a process of its own: the door through which the rest of Timelock uses Pulumi.

This module is light: Pulumi is imported by the process that it starts (`stacks.runner`), never here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from stacks import codec
from stacks.errors import EngineFailed, PassphraseWrong, SpecInvalid, StackLocked, StateCorrupt
from stacks.outcome import Change, Drift, Event, Failure, Outcome
from stacks.settings import StackPlace, find_pulumi
from stacks.spec import BookingSpec

__all__ = [
    "Change",
    "Control",
    "Drift",
    "Event",
    "Failure",
    "Outcome",
    "StackPlace",
    "find_pulumi",
    "operate",
]

OPERATIONS = ("preview", "up", "refresh", "drift", "destroy", "recover", "export")
REGISTERING = ("preview", "up")
OPERATION_SECONDS = 2 * 3600.0
END_SECONDS = 30.0
LAST_WORDS_BYTES = 4000
_ERRORS = {kind.kind: kind for kind in (SpecInvalid, PassphraseWrong, StateCorrupt, StackLocked, EngineFailed)}


class Control:
    """Stops an operation from any thread or signal handler: once gracefully, twice at once."""

    def __init__(self) -> None:
        self._pipe: IO[bytes] | None = None
        self.interrupts = 0

    def interrupt(self) -> None:
        """Ask to stop."""
        self.interrupts += 1
        if self._pipe is not None:
            _write(self._pipe, b"\n")

    def attach(self, pipe: IO[bytes]) -> None:
        """Send interrupts, past ones too, down this pipe."""
        self._pipe = pipe
        _write(pipe, b"\n" * self.interrupts)


def operate(
    operation: str,
    spec: BookingSpec,
    place: StackPlace,
    on_event: Callable[[Event], None],
    *,
    refresh: bool = True,
    control: Control | None = None,
) -> Outcome:
    """Carry out one of OPERATIONS and return what came of it; resources that failed are in the Outcome.

    In the main thread, SIGINT, SIGTERM and SIGHUP stop it: once, gracefully (the state is kept); twice, at once.
    `refresh` says whether `up` looks at the hosts first.

    Raises:
        PassphraseWrong, StateCorrupt, StackLocked, EngineFailed: it could not be carried out at all.
    """
    if operation not in OPERATIONS:
        raise SpecInvalid(f"expected an operation among {', '.join(OPERATIONS)}, found {operation!r}")
    control = control or Control()
    order = {
        "operation": operation,
        "refresh": refresh,
        "spec": asdict(spec),
        "place": asdict(place),
        "mesh_secret": _mesh_secret(place).hex() if operation in REGISTERING else "",
    }
    with _signals(control), _runner() as (pipe, answers):
        _write(pipe, codec.dump(order).encode() + b"\n")
        control.attach(pipe)
        return _listen(answers, on_event)


def _listen(answers: Iterator[Mapping[str, Any]], on_event: Callable[[Event], None]) -> Outcome:
    for answer in answers:
        if "event" in answer:
            on_event(Event(**answer["event"]))
        elif "outcome" in answer:
            return codec.build(Outcome, answer["outcome"], "outcome")
        else:
            error = answer["error"]
            raise _ERRORS.get(error["kind"], EngineFailed)(error["message"], next_step=error["next_step"])
    raise AssertionError("the answers end with an outcome or an error")


@contextlib.contextmanager
def _runner() -> Iterator[tuple[IO[bytes], Iterator[Mapping[str, Any]]]]:
    """A runner process: where orders and interrupts go, and its answers. It is gone when the block is left."""
    with tempfile.TemporaryFile() as last_words:
        process = subprocess.Popen(
            [sys.executable, "-m", "stacks.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=last_words,
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise EngineFailed("expected pipes to the runner, found none")
        limit = threading.Timer(OPERATION_SECONDS, process.stdin.close)  # its end is an interrupt
        limit.daemon = True
        limit.start()
        try:
            yield process.stdin, _answers(process, process.stdout, last_words)
        finally:
            limit.cancel()
            _end(process)


def _answers(process: subprocess.Popen[bytes], stdout: IO[bytes], last_words: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    for line in stdout:
        yield json.loads(line)
    status = process.wait()
    last_words.seek(0)
    text = last_words.read()[-LAST_WORDS_BYTES:].decode(errors="replace").strip()
    raise EngineFailed(
        f"expected the runner to say what came of the operation, but it ended with status {status}: {text}",
        next_step="resume the booking: it goes on from where it stopped",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _signals(control: Control) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP interrupt the operation, where a handler can be set: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda *_: control.interrupt()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _mesh_secret(place: StackPlace) -> bytes:
    try:
        return Path(place.mesh_secret_file).read_bytes()
    except OSError as error:
        raise SpecInvalid(
            f"{place.mesh_secret_file}: expected the master of the mesh's preshared keys, found: {error.strerror}",
            next_step="put the file back from your backup, or release the booking and book again",
        ) from error


def _write(pipe: IO[bytes], data: bytes) -> None:
    """Write to a runner that may be gone; its answers will say so."""
    with contextlib.suppress(OSError, ValueError):
        pipe.write(data)
        pipe.flush()
