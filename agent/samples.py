"""The cursor of utilisation samples: which rows of the driver are new and can be true. Pure.

The cursor is the newest timestamp among the samples themselves, never our clock: a sample that is taken while we ask
would be lost. Rows that cannot be true are counted and dropped, above all before they move the cursor: one from the
future would hide all that come.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.readings import Utilisation, UtilisationRow

PID_LIMIT = 1 << 22  # PID_MAX_LIMIT of include/linux/threads.h on 64 bits
AHEAD_LIMIT_US = 60_000_000  # the driver stamps by the kernel's clock, which may be set between its reading and ours


def advance(rows: Iterable[UtilisationRow], since_us: int, wall_clock_us: int) -> Utilisation:
    """Take the rows that came after `since_us`."""
    given = tuple(rows)
    believed = tuple(row for row in given if _can_be(row, wall_clock_us))
    new = tuple(row for row in believed if row.timestamp_us > since_us)
    cursor = max((row.timestamp_us for row in new), default=since_us)
    return Utilisation(rows=new, cursor_us=cursor, rejected=len(given) - len(believed))


def begin_anew(everything: Iterable[UtilisationRow], since_us: int, wall_clock_us: int) -> Utilisation:
    """Judge all samples that the driver has, when none is newer than the cursor.

    The newest of them is the cursor's own, unless nothing new came at all and the old ones are gone. But if all are
    older, the clock was set back or the driver loaded anew, and the cursor would hide what is to come.
    """
    anew = advance(everything, 0, wall_clock_us)
    if not anew.rows or anew.cursor_us >= since_us:
        return Utilisation(rows=(), cursor_us=since_us, rejected=anew.rejected)
    return Utilisation(rows=anew.rows, cursor_us=anew.cursor_us, rejected=anew.rejected, restarted=True)


def _can_be(row: UtilisationRow, wall_clock_us: int) -> bool:
    percents = (row.sm_percent, row.memory_percent, row.encoder_percent, row.decoder_percent)
    return (
        0 < row.pid <= PID_LIMIT
        and all(0 <= percent <= 100 for percent in percents)
        and 0 < row.timestamp_us <= wall_clock_us + AHEAD_LIMIT_US
    )
