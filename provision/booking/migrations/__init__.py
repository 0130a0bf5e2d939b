"""Bring a database to this program's schema. Alembic is imported only when there is something to do.

There is no way back: a database newer than the program is refused, and stays as it is.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect, text

from provision.booking.turns import Turn, take_turn
from provision.errors import MachineCannot

HEAD = "0001"
"""The newest revision in versions/ (a test compares)."""
VERSION_TABLE = "timelock_schema"


def migrate(reader: Engine, writer: Engine) -> None:
    """Upgrade the database to HEAD unless it is there. One process at a time. Raises MachineCannot if it is newer."""
    with reader.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with writer.begin() as connection:
        take_turn(connection, Turn.MIGRATE)
        if _revision(connection) != HEAD:
            _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "provision.booking:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = _revision(connection)
    if found is not None and found not in known:
        raise MachineCannot(
            f"ledger: expected schema {HEAD} or older, found {found}: a newer Timelock has written here",
            next_step="run the newer Timelock, or name another ledger in TIMELOCK_LEDGER",
        )
    command.upgrade(config, "head")
