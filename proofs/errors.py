"""What keeps a verdict from being given, and what makes evidence worthless: two different things.

`ProofError` says that nothing could be judged (no trust root, a file that cannot be read): exit 2. `Rejected` says that
the evidence is malformed or forged: exit 7, with one stable reason. A verdict itself is a value, never an exception.
"""

from __future__ import annotations

from enum import StrEnum


class ProofError(Exception):
    """Root of this package's errors: the evidence could not be judged."""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class Flaw(StrEnum):
    """Why evidence is rejected. Codes are part of the format: they are never renamed."""

    FILES = "FILES"  # a file is missing, or one that does not belong there
    ARCHIVE = "ARCHIVE"  # not the one archive that these files make
    SIZE = "SIZE"  # larger than the format allows, compressed or not
    ENCODING = "ENCODING"  # not in its one encoding: JSON, base64, zlib, UTF-8
    ENVELOPE = "ENVELOPE"  # not an envelope of this format
    STATEMENT = "STATEMENT"  # not a statement of the kind, version or shape expected here
    ALGORITHM = "ALGORITHM"  # not one of the signature algorithms of this format
    WEAK_KEY = "WEAK_KEY"  # a key for which anybody can sign
    SIGNER = "SIGNER"  # signed by a key that has no say here
    SIGNATURE = "SIGNATURE"  # a signature that does not fit
    THRESHOLD = "THRESHOLD"  # too few different keys signed
    KEYS = "KEYS"  # the key list is not valid at the time in question
    REVOKED = "REVOKED"  # signed with a key after it was revoked
    GRANT = "GRANT"  # the grant contradicts itself
    BOOKING = "BOOKING"  # belongs to another grant
    DIGEST = "DIGEST"  # a file is not the one that the manifest names
    RECORD = "RECORD"  # a record of unknown shape, or one that contradicts those before it
    CHAIN = "CHAIN"  # the records are not those that were countersigned
    ORDER = "ORDER"  # out of order: numbers, counts or times that do not grow
    NONCE = "NONCE"  # a heartbeat that was not made after the countersignature before it
    WITNESS = "WITNESS"  # a countersignature of something else, or at an impossible time
    CLOSED = "CLOSED"  # something after the end


class Rejected(ProofError):
    """Evidence that is malformed or forged.

    `flaw` is the stable reason, `where` the file and line, `found` what stands there.
    """

    def __init__(self, flaw: Flaw, where: str, found: str) -> None:
        super().__init__(f"{where}: {found} [{flaw}]", next_step="do not rely on this bundle; ask for it again")
        self.flaw = flaw
        self.where = where
        self.found = found
