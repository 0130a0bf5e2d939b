"""Alembic's entry: runs the revisions on the connection, and in the transaction, of provision.booking.migrations."""

from __future__ import annotations

from alembic import context

from provision.booking.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
