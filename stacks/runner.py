"""The process that carries out one operation on one stack: an order on stdin, JSON lines on stdout.

Only `stacks.engine` starts it and talks to it. After the order, each line on stdin is an interrupt (the first is
graceful, the second is not); the end of stdin means that the caller is gone, and is an interrupt too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import asdict
from typing import IO

from stacks import codec
from stacks.command import Cli
from stacks.errors import EngineFailed, StackError
from stacks.operations import Order, carry_out
from stacks.outcome import Event

PATIENCE_SECONDS = 60.0
KILL_SECONDS = 0.5
STOPPING = "stopping: the state is kept; interrupt again to stop at once"
CHUNK_BYTES = 1 << 20


class Lines:
    """Writes JSON lines to the caller; one that is gone is no reason to stop half-way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def write(self, value: object) -> None:
        """Write one line."""
        with self._lock:
            try:
                self._file.write(codec.dump(value).encode() + b"\n")
                self._file.flush()
            except OSError:
                return

    def event(self, event: Event) -> None:
        """Write an event."""
        self.write({"event": asdict(event)})


def main() -> None:
    """Read the order, carry it out, and write what came of it as the last line."""
    lines = Lines(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no line of ours
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        line, early = _read_order()
        order = codec.load(Order, line)
        order.spec.check()
        cli = Cli(order.place.pulumi, order.place.environment())
        threading.Thread(target=_listen, args=(cli, early, lines), daemon=True).start()
        lines.write({"outcome": asdict(carry_out(order, cli, lines.event))})
    except StackError as error:
        lines.write(_told(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        lines.write(_told(EngineFailed(f"{where}{error.strerror or error}", next_step="check what lies there")))


def _told(error: StackError) -> object:
    return {"error": {"kind": error.kind, "message": error.message, "next_step": error.next_step}}


def _read_order() -> tuple[bytes, bytes]:
    """The first line on stdin, and what came with it."""
    data = b""
    while b"\n" not in data and (chunk := os.read(0, CHUNK_BYTES)):
        data += chunk
    line, _, rest = data.partition(b"\n")
    return line, rest


def _listen(cli: Cli, early: bytes, lines: Lines) -> None:
    """Unbuffered: a buffer's lock, held by a thread that waits, would spoil the end of the process."""
    asked, interrupts = early, 0
    while asked or (asked := os.read(0, CHUNK_BYTES)):
        for _ in asked:
            interrupts += 1
            cli.interrupt()
            if interrupts == 1:
                lines.event(Event(kind="note", host="", role="", text=STOPPING, state="info"))
        if interrupts > 1:
            _later(KILL_SECONDS, cli)
        asked = b""
    cli.interrupt()
    _later(PATIENCE_SECONDS, cli)


def _later(seconds: float, cli: Cli) -> None:
    timer = threading.Timer(seconds, cli.kill)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    main()
