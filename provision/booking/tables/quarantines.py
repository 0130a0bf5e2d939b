"""Rows of quarantined hosts: one for each booking because of which a host owes something."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from provision.booking.model import Debt, Quarantine
from provision.booking.tables.schema import QUARANTINES
from provision.errors import MachineCannot


def add(
    connection: Connection, host: str, reason: str, owed: Sequence[str], booking_id: int | None, now_ns: int
) -> bool:
    """Add to what the host owes because of this booking; return whether that changed anything."""
    known = [debt for debt in _debts(connection, host).get(host, ()) if debt.booking_id == booking_id]
    if not known:
        row = {"host": host, "reason": reason, "owed": json.dumps(owed), "booking_id": booking_id, "since_ns": now_ns}
        connection.execute(insert(QUARANTINES), [row])
        return True
    all_owed = tuple(dict.fromkeys((*known[0].owed, *owed)))
    if all_owed == known[0].owed and reason == known[0].reason:
        return False
    connection.execute(
        update(QUARANTINES)
        .where(QUARANTINES.c.host == host, QUARANTINES.c.booking_id.is_not_distinct_from(booking_id))
        .values(reason=reason, owed=json.dumps(all_owed))
    )
    return True


def all_of(connection: Connection) -> Mapping[str, Quarantine]:
    """Return the hosts that are set aside, by name."""
    debts = _debts(connection, None)
    return {host: Quarantine(host=host, debts=tuple(debts[host])) for host in sorted(debts)}


def remove(connection: Connection, host: str) -> Quarantine | None:
    """Forget what the host owed; return it."""
    debts = _debts(connection, host).get(host)
    connection.execute(delete(QUARANTINES).where(QUARANTINES.c.host == host))
    return Quarantine(host=host, debts=tuple(debts)) if debts else None


def _debts(connection: Connection, host: str | None) -> Mapping[str, Sequence[Debt]]:
    query = select(QUARANTINES).order_by(QUARANTINES.c.id)
    if host is not None:
        query = query.where(QUARANTINES.c.host == host).with_for_update()
    found: dict[str, list[Debt]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.host].append(_one(row))
    return found


def _one(row: Row[Any]) -> Debt:
    try:
        owed = tuple(str(item) for item in json.loads(row.owed))
    except (ValueError, TypeError) as error:
        raise MachineCannot(
            f"ledger: quarantine of {row.host}: expected a JSON list of what it owes, found {row.owed!r}",
            next_step="the ledger is damaged, or was changed by hand: restore its newest backup",
        ) from error
    return Debt(booking_id=row.booking_id, reason=row.reason, owed=owed, since_ns=row.since_ns)
