"""What the databases refuse by themselves, whoever writes: no code of ours stands between these statements and them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from provision.booking.ledger import Ledger

CLAIM = "INSERT INTO claims (id, booking_id, gpu_uuid, host, start_ns, end_ns) VALUES ({}, {}, '{}', 'h', {}, {})"
REFUSED = (sqlite3.IntegrityError, psycopg.errors.IntegrityError, psycopg.errors.RaiseException)
Run = Callable[[str], object]


@pytest.fixture
def run(url: str) -> Iterator[Run]:
    """Run one statement on a ledger with two bookings (1, 2), in its own transaction."""
    with Ledger(url) as ledger:
        for name in "ab":
            ledger.accept(name, "", "", 0, 100, "image", 0)
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            yield connection.execute
    else:
        with psycopg.connect(url, autocommit=True) as server:
            yield lambda statement: server.execute(statement.encode())


OVERLAPS = [(0, 100), (10, 20), (99, 101), (0, 1), (0, 300)]


@pytest.mark.parametrize(("start_ns", "end_ns"), OVERLAPS)
def test_an_overlapping_insert(run: Run, start_ns: int, end_ns: int) -> None:
    run(CLAIM.format(1, 1, "g", 0, 100))
    with pytest.raises(REFUSED):
        run(CLAIM.format(2, 2, "g", start_ns, end_ns))


@pytest.mark.parametrize(("start_ns", "end_ns"), OVERLAPS)
def test_an_update_that_makes_claims_overlap(run: Run, start_ns: int, end_ns: int) -> None:
    run(CLAIM.format(1, 1, "g", 0, 100))
    run(CLAIM.format(2, 2, "g", 500, 600))
    with pytest.raises(REFUSED):
        run(f"UPDATE claims SET start_ns = {start_ns}, end_ns = {end_ns} WHERE id = 2")


def test_an_update_that_moves_a_claim_to_a_held_gpu(run: Run) -> None:
    run(CLAIM.format(1, 1, "g", 0, 100))
    run(CLAIM.format(2, 2, "other", 50, 150))
    with pytest.raises(REFUSED):
        run("UPDATE claims SET gpu_uuid = 'g' WHERE id = 2")


def test_two_claims_that_overlap_within_one_statement(run: Run) -> None:
    with pytest.raises(REFUSED):
        run(CLAIM.format(1, 1, "g", 0, 100) + ", (2, 2, 'g', 'h', 50, 60)")


def test_a_claim_may_move_within_its_own_time(run: Run) -> None:
    run(CLAIM.format(1, 1, "g", 0, 100))
    run("UPDATE claims SET end_ns = 150 WHERE id = 1")


@pytest.mark.parametrize(("start_ns", "end_ns"), [(5, 5), (6, 5), (-1, 5)])
def test_a_claim_without_length(run: Run, start_ns: int, end_ns: int) -> None:
    with pytest.raises(REFUSED):
        run(CLAIM.format(1, 1, "g", start_ns, end_ns))


def test_a_second_live_booking_with_the_same_slot_or_name(run: Run) -> None:
    for assignment in ("slot = 0", "name = 'a'"):
        with pytest.raises(REFUSED):
            run(f"UPDATE bookings SET {assignment} WHERE id = 2")


def test_a_released_booking_that_is_not_over(run: Run) -> None:
    with pytest.raises(REFUSED):
        run("UPDATE bookings SET state = 'RELEASED' WHERE id = 2")


@pytest.mark.parametrize("statement", ["UPDATE events SET reason = 'better'", "DELETE FROM events"])
def test_an_event_that_is_changed_or_removed(run: Run, statement: str) -> None:
    with pytest.raises(REFUSED):
        run(statement)


class TestSqlite:
    @pytest.fixture
    def url(self, new_sqlite: Callable[[], str]) -> str:
        return new_sqlite()

    @pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "REPLACE"])
    @pytest.mark.parametrize("number", [1, 2])
    def test_an_overlapping_insert_whatever_it_does_on_conflict(self, run: Run, verb: str, number: int) -> None:
        run(CLAIM.format(1, 1, "g", 0, 100))
        with pytest.raises(REFUSED, match="claims overlap"):
            run(CLAIM.format(number, 2, "g", 50, 150).replace("INSERT", verb))

    def test_an_overlapping_update_or_replace(self, run: Run) -> None:
        run(CLAIM.format(1, 1, "g", 0, 100))
        run(CLAIM.format(2, 2, "g", 100, 200))
        for assignment in ("start_ns = 99", "id = 1, start_ns = 99", "booking_id = 1, start_ns = 99"):
            with pytest.raises(REFUSED, match="claims overlap"):
                run(f"UPDATE OR REPLACE claims SET {assignment} WHERE id = 2")

    def test_an_upsert_that_makes_claims_overlap(self, run: Run) -> None:
        run(CLAIM.format(1, 1, "g", 0, 100))
        run(CLAIM.format(2, 2, "g", 100, 200))
        with pytest.raises(REFUSED, match="claims overlap"):
            run(CLAIM.format(2, 2, "x", 0, 100) + " ON CONFLICT (id) DO UPDATE SET start_ns = 50")

    def test_an_event_that_is_replaced(self, run: Run) -> None:
        row = "(seq, time_ns, actor, target, old, new, reason) VALUES (1, 0, '', '', '', '', '')"
        with pytest.raises(REFUSED, match="never changed"):
            run(f"INSERT OR REPLACE INTO events {row}")


class TestPostgresql:
    @pytest.fixture
    def url(self, new_postgresql: Callable[[], str]) -> str:
        return new_postgresql()

    def test_all_events_at_once(self, run: Run) -> None:
        with pytest.raises(REFUSED, match="never changed"):
            run("TRUNCATE events")
