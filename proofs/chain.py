"""The chain of records: every record's place is fixed by all that came before it. What came before is not stored in it.

Genesis is a digest of the grant and of the agent's key, so that no record of another booking, or of another host of the
same booking, fits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

_GENESIS = b"timelock/genesis/v1\0"
_RECORD = b"timelock/record/v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain: how many records it has, and the digest that stands for all of them."""

    count: int
    digest: bytes

    def after(self, records: Iterable[bytes]) -> Head:
        """The end after these records, each its line without the newline."""
        digest, count = self.digest, self.count
        for record in records:
            digest = hashlib.sha256(_RECORD + digest + record).digest()
            count += 1
        return Head(count=count, digest=digest)


def genesis(grant_digest: bytes, agent_keyid: str) -> Head:
    """The chain before its first record. `grant_digest` is the SHA-256 of the grant's envelope."""
    return Head(count=0, digest=hashlib.sha256(_GENESIS + grant_digest + bytes.fromhex(agent_keyid)).digest())
