"""What a database driver's error means: refused overlap, collision to be tried again, or trouble to be explained."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from provision.errors import MachineCannot

OVERLAP = "claims overlap"
"""What the SQLite triggers say."""

# PostgreSQL's states (its manual, appendix A).
_EXCLUSION_VIOLATION = "23P01"
_COLLISIONS = frozenset({"40001", "40P01"})
_NO_RIGHT = "42501"
_MISSING = ("42P01", "42703")

_DAMAGED = (
    "the database is damaged: move it away and restore its newest backup, or save what can be saved with"
    " `sqlite3 FILE .recover`; do not start an empty one while bookings are on hosts"
)
# How SQLite's error name or PostgreSQL's state begins, or what the text says where there is no state (a refused
# connection has none): what to do. The first that fits counts.
_REMEDIES = (
    (("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "XX001", "XX002"), _DAMAGED),
    (("SQLITE_FULL", "53100"), "free disk space, then run it again"),
    (("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "57014"), "another process holds the ledger: wait for it, or end it"),
    (("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"), "check the file's owner and the disk"),
    (("SQLITE_IOERR",), "check the disk and the file system (dmesg); WAL needs a local one"),
    (
        ("28", _NO_RIGHT, "authentication failed", "role "),
        "check the user and the password in TIMELOCK_LEDGER, and the rights it has",
    ),
    (("3D000", "FATAL: database "), "create the database (`createdb`), or correct TIMELOCK_LEDGER"),
    (
        ("53300", "too many clients", "connection slots"),
        "PostgreSQL has no connection left: raise max_connections, or run fewer operations at once",
    ),
    (("0A000", "58P01"), "install PostgreSQL's contrib package, which holds btree_gist, on its host"),
)
_OTHERWISE = "check that TIMELOCK_LEDGER names a ledger that runs and can be reached"


class TryAgain(Exception):
    """The transaction met another one; nothing of it was done."""


def is_overlap(error: IntegrityError) -> bool:
    """Whether the database refused overlapping claims."""
    return _code(error) == _EXCLUSION_VIOLATION or OVERLAP in str(error.orig)


def collided(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed when tried again."""
    return _code(error) in _COLLISIONS


def explained(error: DBAPIError, url: str) -> MachineCannot | None:
    """Return the trouble with the machine or the database; None if the statement itself is wrong (our mistake)."""
    code = _code(error)
    if isinstance(error, IntegrityError) or (
        isinstance(error, ProgrammingError) and code not in (_NO_RIGHT, *_MISSING)
    ):
        return None
    found = " ".join(str(error.orig).split())
    remedy = next((remedy for signs, remedy in _REMEDIES if _fits(signs, code, found)), _OTHERWISE)
    return MachineCannot(f"ledger {url}: expected a sound database, found: {found}", next_step=remedy)


def damaged(url: str, found: str) -> MachineCannot:
    """Return the trouble with a database that holds what no Timelock wrote."""
    return MachineCannot(f"ledger {url}: expected a sound database, found: {found}", next_step=_DAMAGED)


def _fits(signs: tuple[str, ...], code: str, found: str) -> bool:
    return code.startswith(signs) if code else any(sign in found for sign in signs)


def _code(error: DBAPIError) -> str:
    """SQLite's error name or PostgreSQL's state; empty where there is none."""
    return getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
