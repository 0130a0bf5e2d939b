"""A ledger that cannot be used: one error that says what was found and what to do, and nothing made worse."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from provision.booking.database import ATTEMPTS, Database
from provision.booking.database_errors import TryAgain
from provision.booking.ledger import Ledger
from provision.booking.migrations import VERSION_TABLE
from provision.booking.model import BookingState
from provision.errors import MachineCannot, TimelockError

NEWER = f"UPDATE {VERSION_TABLE} SET version_num = '9999'"


@pytest.mark.parametrize(
    "url", ["", "ledger.sqlite", "sqlite://", "sqlite:///:memory:", "mysql://h/d", "postgresql://"]
)
def test_a_url_of_another_kind(url: str) -> None:
    with pytest.raises(MachineCannot, match="expected sqlite:") as refused:
        Ledger(url)
    assert "TIMELOCK_LEDGER" in refused.value.next_step


@pytest.mark.parametrize("url", ["mysql://u:hush@h/d", "postgresql://u:hush@127.0.0.1:1/d", "://u:hush@h"])
def test_a_password_is_never_shown(url: str) -> None:
    with pytest.raises(MachineCannot) as refused:
        Ledger(url)
    assert "hush" not in refused.value.message + refused.value.next_step


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(MachineCannot, match="No such file or directory") as refused:
        Ledger(f"postgresql://postgres@/ledger?host={tmp_path}")
    assert refused.value.exit_code == 8


def test_a_database_that_is_not_there(postgres: str) -> None:
    with pytest.raises(MachineCannot, match="does not exist") as refused:
        Ledger(f"postgresql://postgres@/nothing?host={postgres.split()[0].removeprefix('host=')}")
    assert "createdb" in refused.value.next_step


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineCannot, match="can be written"):
        Ledger(f"sqlite:///{tmp_path}/file/ledger.sqlite")


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(MachineCannot, match=re.escape(str(tmp_path))):
        Ledger(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, whatever its name " * 100)
    before = path.read_bytes()
    with pytest.raises(MachineCannot, match="not a database") as refused:
        Ledger(f"sqlite:///{path}")
    assert "backup" in refused.value.next_step
    assert path.read_bytes() == before


def test_a_schema_newer_than_this_program_stays_as_it_is(url: str) -> None:
    _change(url, NEWER)
    for _ in range(2):
        with pytest.raises(MachineCannot, match="found 9999") as refused:
            Ledger(url)
        assert "newer Timelock" in refused.value.next_step


def test_tables_that_went_missing(url: str) -> None:
    with Ledger(url) as ledger:
        _change(url, "DROP TABLE quarantines")
        with pytest.raises(MachineCannot, match="quarantines"):
            ledger.quarantined()


@pytest.mark.parametrize(
    ("change", "found"),
    [("UPDATE bookings SET state = 'ACTIVX'", "ACTIVX"), ("UPDATE quarantines SET owed = '{'", "'{'")],
)
def test_values_that_no_timelock_wrote(url: str, change: str, found: str) -> None:
    with Ledger(url) as ledger:
        ledger.accept("demo", "", "", 1, 2, "image", 0)
        ledger.quarantine("h", "r", ("engine",), None, 0)
        _change(url, change)
        with pytest.raises(MachineCannot, match=found):
            (ledger.bookings(), ledger.quarantined())


def test_a_database_that_another_process_holds(new_sqlite: Callable[[], str]) -> None:
    url = new_sqlite()
    statement = text("DELETE FROM bookings")
    with (
        closing(Database(url, wait_seconds=0)) as ours,
        closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(MachineCannot, match="locked") as refused:
            ours.write(lambda connection: connection.execute(statement))
        assert "another process" in refused.value.next_step
        assert ours.read(lambda connection: connection.execute(text("SELECT id FROM bookings")).all()) == []
        other.rollback()
        ours.write(lambda connection: connection.execute(statement))


def test_a_transaction_that_never_gets_through_is_given_up(url: str) -> None:
    pauses: list[float] = []
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        raise TryAgain("in the way")

    with closing(Database(url, pause=pauses.append)) as opened, pytest.raises(MachineCannot, match="in the way"):
        opened.write(work)
    assert (tries, len(pauses)) == (ATTEMPTS, ATTEMPTS)
    assert max(pauses) < 1


def test_a_deadlock_is_tried_again(new_postgresql: Callable[[], str]) -> None:
    """Two transactions lock two rows in opposite order; PostgreSQL ends one, which then gets through."""
    url = new_postgresql()
    with Ledger(url) as ledger:
        ids = [ledger.accept(name, "", "", 1, 2, "image", 0).id for name in "ab"]
    both_hold_one = threading.Barrier(2)
    tries: list[int] = []

    def lock_both(first: int, second: int) -> None:
        def work(connection: Connection) -> None:
            tries.append(first)
            connection.execute(text("SELECT 1 FROM bookings WHERE id = :id FOR UPDATE"), {"id": first})
            if len(tries) <= 2:
                both_hold_one.wait(30)
            connection.execute(text("SELECT 1 FROM bookings WHERE id = :id FOR UPDATE"), {"id": second})

        with closing(Database(url)) as opened:
            opened.write(work)

    other = threading.Thread(target=lock_both, args=ids)
    other.start()
    lock_both(ids[1], ids[0])
    other.join(60)
    assert len(tries) == 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=2000)), min_size=1, max_size=4))
def test_a_damaged_file_is_read_rightly_or_named_as_damaged(
    new_sqlite: Callable[[], str], damage: list[tuple[float, bytes]]
) -> None:
    url = new_sqlite()
    with Ledger(url) as ledger:
        _use(ledger, "before")
    path = Path(url.removeprefix("sqlite:///"))
    content = bytearray(path.read_bytes())
    for where, garbage in damage:
        at = int(where * (len(content) - 1))
        content[at : at + len(garbage)] = garbage[: len(content) - at]
    path.write_bytes(content)
    with suppress(TimelockError), Ledger(url) as ledger:
        _use(ledger, "after")


def _use(ledger: Ledger, name: str) -> None:
    for number in range(3):
        booking = ledger.accept(f"{name}{number}", "text" * 300, "digest", 100, 200, "image", 1)
        ledger.set_plan(booking.id, b"plan" * 500)
        ledger.claim(booking.id, [(f"{name}-{number}-{gpu}", "host") for gpu in range(8)], 100, 200)
        ledger.transition(booking.id, BookingState.PLANNED, "test", "use", 2)
        ledger.quarantine(f"host{number}", "unreachable", ("engine",), booking.id, 3)
    (ledger.bookings(live_only=False), ledger.events(), ledger.quarantined(), ledger.taken(0, 1000))


def _change(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(statement)
    else:
        with psycopg.connect(url) as server:
            server.execute(statement.encode())
