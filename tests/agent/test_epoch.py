"""What tells that the driver forgot."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.epoch import follow, overwritten
from agent.readings import DEAD_ENTRIES_KEPT, AccountingPast, Life


def lives(*pids: int, started_us: int = 1) -> tuple[Life, ...]:
    return tuple(Life(pid=pid, started_us=started_us) for pid in pids)


def pids_of(past: AccountingPast) -> tuple[int, ...]:
    return tuple(life.pid for life in past.dead)


PAST = AccountingPast(found_on=False, epoch=3, driver_version="580.1", energy_millijoules=1000, dead=lives(5, 6))
FULL = lives(*range(1000, 1000 + DEAD_ENTRIES_KEPT))


def reset(
    now: AccountingPast, pids: tuple[int, ...] = (5, 6), *, past: AccountingPast = PAST, was_on: bool = True
) -> str:
    remembered, why = follow(past, now, pids, was_on=was_on)
    assert remembered.epoch == past.epoch + bool(why)
    assert remembered.found_on == past.found_on
    return why


def test_the_same_again_is_the_same_epoch() -> None:
    assert reset(PAST) == ""
    assert reset(replace(PAST, energy_millijoules=1001, dead=lives(5, 6, 7)), (5, 6, 7, 8)) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"energy_millijoules": 999}, "energy fell from 1000 to 999 mJ"),
        ({"driver_version": "590.1"}, "the driver was 580.1 and is 590.1"),
        ({"dead": lives(6)}, "1 dead processes were forgotten"),
    ],
)
def test_each_trace_begins_an_epoch(change: dict[str, object], why: str) -> None:
    now = replace(PAST, **change)  # type: ignore[arg-type]
    assert reset(now, pids_of(now)) == why


def test_accounting_that_is_off_again_has_forgotten() -> None:
    assert reset(PAST, was_on=False) == "accounting was off again"


def test_how_accounting_was_found_at_first_is_kept() -> None:
    remembered, _ = follow(PAST, replace(PAST, found_on=True), (5, 6), was_on=True)
    assert not remembered.found_on


def test_a_pid_that_lives_again_is_not_forgotten() -> None:
    assert reset(replace(PAST, dead=lives(6)), (5, 6)) == ""


def test_a_full_ring_overwrites_without_a_new_epoch() -> None:
    past, now = replace(PAST, dead=FULL), replace(PAST, dead=(*FULL[1:], *lives(9)))
    assert reset(now, pids_of(now), past=past) == ""
    living = pids_of(now)  # one of the dead has a living successor, which stands before it
    assert reset(replace(now, dead=now.dead[1:]), living, past=past) == ""


def test_a_ring_that_went_round_may_have_lost_some() -> None:
    full = replace(PAST, dead=FULL)
    assert overwritten(None, full)
    assert not overwritten(full, replace(PAST, dead=(FULL[-1], *lives(*range(1, DEAD_ENTRIES_KEPT)))))
    assert overwritten(full, replace(PAST, dead=lives(*range(1, DEAD_ENTRIES_KEPT + 1))))
    assert overwritten(full, replace(PAST, dead=lives(*pids_of(full), started_us=2)))
    assert not overwritten(PAST, replace(PAST, dead=lives(*range(10, 9 + DEAD_ENTRIES_KEPT))))
    assert overwritten(PAST, full)


def test_what_is_unknown_now_was_known_before_and_stays() -> None:
    remembered, why = follow(PAST, replace(PAST, energy_millijoules=None, driver_version=None), (5, 6), was_on=True)
    assert (remembered, why) == (PAST, "")


def test_what_was_unknown_is_no_trace() -> None:
    assert reset(PAST, past=replace(PAST, energy_millijoules=None, driver_version=None)) == ""


@given(st.lists(st.sets(st.integers(1, 50), max_size=8), max_size=20), st.lists(st.integers(0, 10), min_size=20))
def test_a_driver_that_only_adds_keeps_its_epoch(deaths: list[set[int]], energies: list[int]) -> None:
    past, dead, energy = PAST, set(pids_of(PAST)), 1000
    for more, used in zip(deaths, energies, strict=False):
        dead, energy = dead | more, energy + used
        now = replace(PAST, dead=lives(*dead), energy_millijoules=energy)
        past, why = follow(past, now, tuple(dead), was_on=True)
        assert why == ""
    assert past.epoch == PAST.epoch
