"""Whether the driver still remembers: accounting counts within one epoch only. Pure.

Accounting is lost when the driver is loaded anew, when it lets go of an unused GPU, or when root clears it. Nothing in
NVML says so, but each leaves a trace: the mode is off again, energy (counted since the load, nvml.h) is less than it
was, the version changed, or dead processes are gone though the ring that keeps them has room.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from agent.readings import DEAD_ENTRIES_KEPT, AccountingPast


def follow(
    past: AccountingPast, now: AccountingPast, pids: Iterable[int], *, was_on: bool
) -> tuple[AccountingPast, str]:
    """Give what to remember from now on, and why a new epoch began (empty: it did not).

    Args:
        past: what was remembered.
        now: what this reading found; its epoch and mode do not count.
        pids: all that accounting lists now.
        was_on: whether the mode was still on when this reading began.
    """
    reset = "" if was_on else "accounting was off again"
    reset = reset or _version_changed(past, now) or _energy_fell(past, now) or _dead_are_gone(past, now, pids)
    epoch = past.epoch + bool(reset)
    return replace(
        now,
        found_on=past.found_on,
        epoch=epoch,
        driver_version=now.driver_version or past.driver_version,
        energy_millijoules=past.energy_millijoules if now.energy_millijoules is None else now.energy_millijoules,
    ), reset


def overwritten(past: AccountingPast | None, now: AccountingPast) -> bool:
    """Whether the ring of the dead may have lost some that no reading saw.

    It overwrites the oldest first. So as long as one that an earlier reading saw is still there, all that died after it
    are there too.
    """
    if len(now.dead) < DEAD_ENTRIES_KEPT:
        return False
    return past is None or not set(past.dead) & set(now.dead)


def _version_changed(past: AccountingPast, now: AccountingPast) -> str:
    if past.driver_version is None or now.driver_version is None or past.driver_version == now.driver_version:
        return ""
    return f"the driver was {past.driver_version} and is {now.driver_version}"


def _energy_fell(past: AccountingPast, now: AccountingPast) -> str:
    if past.energy_millijoules is None or now.energy_millijoules is None:
        return ""
    if now.energy_millijoules >= past.energy_millijoules:
        return ""
    return f"energy fell from {past.energy_millijoules} to {now.energy_millijoules} mJ"


def _dead_are_gone(past: AccountingPast, now: AccountingPast, pids: Iterable[int]) -> str:
    """A full ring overwrites the oldest, and a living process stands before a dead one with its pid."""
    listed, once_dead = set(pids), {life.pid for life in past.dead}
    gone = len(once_dead - listed)
    kept = {life.pid for life in now.dead} | (once_dead & listed)
    if not gone or len(kept) >= DEAD_ENTRIES_KEPT:
        return ""
    return f"{gone} dead processes were forgotten"
