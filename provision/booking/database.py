"""One database behind one URL: opened carefully, written in transactions that are tried again when two of them collide.

SQLite: write-ahead log, one writer at a time (BEGIN IMMEDIATE), who is waited for up to 30 s. PostgreSQL: row locks and
the same limit. It knows nothing of bookings; what the driver's errors mean is in database_errors.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from provision.booking.database_errors import TryAgain, collided, damaged, explained
from provision.booking.migrations import migrate
from provision.errors import MachineCannot

WAIT_SECONDS = 30
CONNECT_SECONDS = 10
ATTEMPTS = 12
DRIVERS = ("sqlite", "postgresql", "postgresql+psycopg")

T = TypeVar("T")


class Database:
    """The database at `url` (sqlite:///path or postgresql://…), migrated to this program's schema.

    Threads may share it; a forked child may not (SQLite's locks belong to the process that took them).
    Raises MachineCannot, here and in both methods: wrong URL, out of reach, damaged, full, newer than this program.
    """

    def __init__(
        self, url: str, *, wait_seconds: int = WAIT_SECONDS, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._url = _parsed(url)
        self._pause = pause
        open_engine = _sqlite if self._url.get_backend_name() == "sqlite" else _postgresql
        self._engine = open_engine(self._url, wait_seconds)
        try:
            self._again(self._migrate)
        except BaseException:
            self.close()
            raise

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads, all of it from one snapshot on SQLite."""
        with self._explaining(), self._engine.connect() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction; from the start again, a few times, if another transaction was in its way."""

        def once() -> T:
            with self._explaining(), self._writer.begin() as connection:
                return work(connection)

        return self._again(once)

    def close(self) -> None:
        """Drop the pooled connections."""
        self._engine.dispose()

    @property
    def _writer(self) -> Engine:
        return self._engine.execution_options(begin="BEGIN IMMEDIATE")

    def _migrate(self) -> None:
        with self._explaining():
            migrate(self._engine, self._writer)

    def _again(self, once: Callable[[], T]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return once()
            except TryAgain as error:
                last = error
                self._pause(random.uniform(0, 0.01 * 2 ** min(attempt, 6)))
        raise MachineCannot(
            f"ledger {self._url.render_as_string()}: gave up after {ATTEMPTS} collisions with others: {last}",
            next_step="run it again when the ledger is less busy",
        ) from last

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if collided(error):
                raise TryAgain(str(error.orig)) from error
            explanation = explained(error, self._url.render_as_string())
            if explanation is None:
                raise
            raise explanation from error
        except UnicodeDecodeError as error:  # sqlite3 cannot even say what is wrong
            raise damaged(self._url.render_as_string(), "text that is not UTF-8") from error
        except PoolTimeout as error:
            raise MachineCannot(
                f"ledger {self._url.render_as_string()}: all its connections stay in use",
                next_step="run fewer operations at once",
            ) from error


def _parsed(url: str) -> URL:
    """Parse; a URL that cannot be parsed is not shown, for it may hold a password."""
    forms = "expected sqlite:////absolute/path or postgresql://user@host/database"
    fix = "correct TIMELOCK_LEDGER, or unset it for SQLite in TIMELOCK_HOME"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise MachineCannot(f"ledger: {forms}, found something that is no URL", next_step=fix) from error
    if parsed.drivername in DRIVERS and parsed.database and parsed.database != ":memory:":
        return parsed
    raise MachineCannot(f"ledger: {forms}, found {parsed.render_as_string()!r}", next_step=fix)


def _sqlite(url: URL, wait_seconds: int) -> Engine:
    path = Path(url.database or "")
    _require_not_lost(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        raise MachineCannot(
            f"ledger {path}: expected a file that can be written, found: {error.strerror}",
            next_step="check the path, its owner and the free space, or set TIMELOCK_LEDGER",
        ) from error
    engine = create_engine(url, connect_args={"timeout": wait_seconds})

    @event.listens_for(engine, "connect")
    def prepare(connection: SqliteConnection, record: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions behind our back
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _require_not_lost(path: Path) -> None:
    """Refuse to begin an empty ledger beside bookings that are under way: their claims would be anybody's."""
    if path.exists() and path.stat().st_size:
        return
    if alive := sorted(place.parent.name for place in path.parent.glob("bookings/*/passphrase")):
        raise MachineCannot(
            f"ledger {path}: expected the claims of {', '.join(alive)}, found it missing or empty",
            next_step="put it back from your backup; do not start an empty one while hosts are in use",
        )


def _postgresql(url: URL, wait_seconds: int) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_timeout=wait_seconds,
        connect_args={} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def limit(connection: object, record: object) -> None:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(f"SET lock_timeout = '{wait_seconds}s'")
            cursor.execute(f"SET statement_timeout = '{2 * wait_seconds}s'")
        connection.commit()  # type: ignore[attr-defined]

    return engine
