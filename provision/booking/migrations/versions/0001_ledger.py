"""Bookings, claims, events and quarantines, and the rules that the database itself keeps.

Never changed once released: a change of the schema is a new revision.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, then the rules."""
    _bookings()
    _claims()
    _events()
    _quarantines()
    statements = _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL
    for statement in statements:
        op.execute(statement)


def _bookings() -> None:
    op.create_table(
        "bookings",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("request_text", sa.Text, nullable=False),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("plan", sa.LargeBinary),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("journal_offset", sa.BigInteger, nullable=False),
        sa.CheckConstraint("0 <= start_ns AND start_ns < end_ns", name="bookings_window"),
        sa.CheckConstraint("slot >= 0", name="bookings_slot"),
        sa.CheckConstraint("state <> 'RELEASED' OR ended_ns IS NOT NULL", name="bookings_released_is_over"),
        sqlite_autoincrement=True,
    )
    live = sa.text("ended_ns IS NULL")
    for column in ("name", "slot"):
        op.create_index(
            f"bookings_live_{column}", "bookings", [column], unique=True, sqlite_where=live, postgresql_where=live
        )
    op.create_index("bookings_name", "bookings", ["name"])


def _claims() -> None:
    op.create_table(
        "claims",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("booking_id", _ID, sa.ForeignKey("bookings.id"), nullable=False),
        sa.Column("gpu_uuid", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger, nullable=False),
        sa.CheckConstraint("0 <= start_ns AND start_ns < end_ns", name="claims_window"),
        sa.UniqueConstraint("booking_id", "gpu_uuid", name="claims_one_a_booking"),
    )
    op.create_index("claims_gpu", "claims", ["gpu_uuid", "start_ns"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", _ID, primary_key=True),
        sa.Column("booking_id", _ID, sa.ForeignKey("bookings.id")),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("old", sa.Text, nullable=False),
        sa.Column("new", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_booking", "events", ["booking_id", "seq"])


def _quarantines() -> None:
    op.create_table(
        "quarantines",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("booking_id", _ID, sa.ForeignKey("bookings.id")),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("owed", sa.Text, nullable=False),
        sa.Column("since_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("quarantines_host", "quarantines", ["host"])


# BEFORE triggers look before OR REPLACE or OR IGNORE can remove or skip anything, and ABORT overrides both.
_OVERLAP = "SELECT 1 FROM claims WHERE gpu_uuid = NEW.gpu_uuid AND start_ns < NEW.end_ns AND NEW.start_ns < end_ns"
_SQLITE = (
    f"""CREATE TRIGGER claims_no_overlap_insert BEFORE INSERT ON claims WHEN EXISTS ({_OVERLAP})
        BEGIN SELECT RAISE(ABORT, 'claims overlap'); END""",
    f"""CREATE TRIGGER claims_no_overlap_update BEFORE UPDATE ON claims WHEN EXISTS ({_OVERLAP} AND id <> OLD.id)
        BEGIN SELECT RAISE(ABORT, 'claims overlap'); END""",
    """CREATE TRIGGER events_no_update BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""",
    """CREATE TRIGGER events_no_delete BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never removed'); END""",
    # OR REPLACE removes a row without asking the DELETE trigger.
    """CREATE TRIGGER events_no_replace BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""",
)
_POSTGRESQL = (
    "CREATE EXTENSION IF NOT EXISTS btree_gist",
    """ALTER TABLE claims ADD CONSTRAINT claims_no_overlap
        EXCLUDE USING gist (gpu_uuid WITH =, int8range(start_ns, end_ns) WITH &&)""",
    """CREATE FUNCTION events_are_immutable() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'events are never changed or removed'; END $$""",
    """CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION events_are_immutable()""",
)
