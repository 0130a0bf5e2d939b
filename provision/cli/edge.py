"""The edge of every command: whatever ends it becomes one message and one exit code, never a traceback."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from provision.cli.plain import plain
from provision.errors import InvalidInput, MachineCannot, TimelockError
from provision.home import Home

INTERRUPTED = "interrupted; what was done so far is kept: `timelock resume BOOKING` goes on with a booking"


def guarded(command: Callable[[], object]) -> int:
    """Run `command` and return its exit code; print what went wrong, if anything did."""
    try:
        _have_streams()
        _speak_to_any_terminal()
        code = command()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo(INTERRUPTED, err=True)
        return 130
    except TimelockError as error:
        return _shown(error)
    except BrokenPipeError:  # whoever read us has heard enough
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for the flush when Python ends
        return 1
    except OSError as error:
        return _shown(_machine_cannot(error))
    except Exception as error:  # noqa: BLE001 - the edge: nobody above could say it better
        return _shown(_own_mistake(error))
    return code if isinstance(code, int) else 0


def _have_streams() -> None:
    """Let nothing else get the number of a stream that was closed before us (`>&-`): what is written there is lost."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def _speak_to_any_terminal() -> None:
    """Write '?' for what the locale cannot spell, rather than fail half way."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _shown(error: TimelockError) -> int:
    """Print what is wrong, then what to do; return the exit code."""
    messages = error.problems if isinstance(error, InvalidInput) else (error.message,)
    for message in messages:
        first, *rest = (plain(line) for line in message.strip().splitlines() or [""])
        click.secho("\n".join((f"error: {first}", *rest)), fg="red", err=True)
    if error.next_step:
        click.echo(f"  → {error.next_step}", err=True)
    return error.exit_code


def _machine_cannot(error: OSError) -> MachineCannot:
    where = f"{error.filename}: " if error.filename else ""
    return MachineCannot(
        f"{where}{error.strerror or error}", next_step="check its owner, and the free space (`df -h`, `df -i`)"
    )


def _own_mistake(error: Exception) -> MachineCannot:
    """What nobody foresaw: the traceback is kept for whoever mends it, beside the state it may be about."""
    kept = Home.from_env().root / "crash.log"
    told = MachineCannot(
        f"a mistake in Timelock, or a damaged state: {type(error).__name__}: {error}",
        next_step=f"the claims are safe in the ledger; report it with {kept}",
    )
    return told if _keep(kept, error) else MachineCannot(told.message)


def _keep(path: Path, error: Exception) -> bool:
    try:
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{datetime.now(UTC).isoformat()}\n{''.join(traceback.format_exception(error))}\n")
    except OSError:
        return False
    return True
