"""Opening a ledger: made on first use, by one process; migrations and the code's tables say the same."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from provision.booking.ledger import Ledger
from provision.booking.migrations import HEAD, VERSION_TABLE
from provision.booking.tables.schema import METADATA
from provision.errors import MachineCannot


def test_a_new_ledger_is_empty_and_opens_again(unmade_url: str) -> None:
    for _ in range(2):
        with Ledger(unmade_url) as ledger:
            assert ledger.bookings(live_only=False) == ()


def test_what_was_written_is_there_when_opened_again(unmade_url: str) -> None:
    with Ledger(unmade_url) as ledger:
        booking = ledger.accept("demo", "text", "digest", 1, 2, "image", 0)
    with Ledger(unmade_url) as ledger:
        assert ledger.booking("demo") == booking


def test_many_may_open_a_new_ledger_at_once(unmade_url: str) -> None:
    def work(number: int) -> int:
        with Ledger(unmade_url) as ledger:
            return ledger.accept(f"c{number}", "", "", 1, 2, "image", 0).slot

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(work, range(16))) == list(range(16))


def test_processes_may_open_a_new_ledger_at_once(unmade_url: str) -> None:
    code = "import sys; from provision.booking.ledger import Ledger; Ledger(sys.argv[1]).close()"
    processes = [subprocess.Popen([sys.executable, "-c", code, unmade_url]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4


def test_tables_of_the_code_are_those_of_the_migrations(url: str) -> None:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"include_object": _is_column_or_table})
            assert compare_metadata(context, METADATA) == []
    finally:
        engine.dispose()


def test_the_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "provision.booking:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@pytest.mark.parametrize("content", [None, b""])
def test_no_empty_ledger_is_begun_beside_bookings_that_are_under_way(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "bookings" / "demo").mkdir(parents=True)
    (tmp_path / "bookings" / "demo" / "passphrase").write_text("p")
    if content is not None:
        (tmp_path / "ledger.sqlite").write_bytes(content)
    with pytest.raises(MachineCannot, match="expected the claims of demo, found it missing or empty"):
        Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


def test_sqlite_keeps_a_write_ahead_log_and_is_its_owner_s_only(tmp_path: Path) -> None:
    path = tmp_path / "home" / "ledger.sqlite"
    Ledger(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


def test_opening_a_ledger_that_is_up_to_date_loads_no_alembic(url: str) -> None:
    code = (
        "import sys; from provision.booking.ledger import Ledger; Ledger(sys.argv[1]).close();"
        " assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, url], check=True, timeout=60)


def _is_column_or_table(item: Any, name: str | None, kind: str, reflected: bool, compared: object) -> bool:
    """Indexes and constraints are the migrations' alone."""
    return kind in ("table", "column") and name != VERSION_TABLE
