"""The ledger's tables, as the code speaks of them. What the database itself enforces beyond them is in migrations/.

Times are integer nanoseconds (bigint). The tables are made by the migrations only, never from this metadata.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()
_ID = BigInteger().with_variant(Integer(), "sqlite")

# `ended_ns` is null while the booking is live: the partial unique indexes on name and slot look at it.
BOOKINGS = Table(
    "bookings",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("request_digest", Text, nullable=False),
    Column("request_text", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("plan", LargeBinary),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("journal_offset", BigInteger, nullable=False),
)

CLAIMS = Table(
    "claims",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("booking_id", _ID, ForeignKey("bookings.id"), nullable=False),
    Column("gpu_uuid", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", _ID, primary_key=True),
    Column("booking_id", _ID, ForeignKey("bookings.id")),
    Column("time_ns", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("old", Text, nullable=False),
    Column("new", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

# One row a host and booking; `owed` is a JSON list of texts.
QUARANTINES = Table(
    "quarantines",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("host", Text, nullable=False),
    Column("booking_id", _ID, ForeignKey("bookings.id")),
    Column("reason", Text, nullable=False),
    Column("owed", Text, nullable=False),
    Column("since_ns", BigInteger, nullable=False),
)
