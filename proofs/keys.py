"""Public keys and signatures, each in exactly one form. Private keys are nowhere in this package but in tests.

Ed25519 (RFC 8032) with keys of 32 bytes, and ECDSA P-256 with SHA-256 (FIPS 186-5) with compressed points and the 64
bytes r ‖ s, s in the lower half: a TPM has no Ed25519. Keys for which signatures can be made up are refused: points of
small order pass `cryptography` and stand in no test suite.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from proofs.edwards import has_small_order
from proofs.errors import Flaw, Rejected

SIGNATURE_BYTES = 64
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n of P-256 (SEC 2, 2.4.2)."""


class Algorithm(StrEnum):
    """The signature algorithms of this format."""

    ED25519 = "ed25519"
    P256 = "p256"


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """A key that was found sound. Made by `parse` only."""

    algorithm: Algorithm
    raw: bytes

    @cached_property
    def keyid(self) -> str:
        """Its name everywhere: a digest of what it is, so that one key never goes by two names."""
        return hashlib.sha256(b"timelock/key/v1\0" + self.algorithm.encode() + b"\0" + self.raw).hexdigest()

    @cached_property
    def _verifier(self) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
        if self.algorithm is Algorithm.ED25519:
            return Ed25519PublicKey.from_public_bytes(self.raw)
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.raw)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `message`, in its one form."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if isinstance(self._verifier, Ed25519PublicKey):
                self._verifier.verify(signature, message)
            else:
                self._verifier.verify(_der(signature), message, ec.ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


def parse(algorithm: str, text: str, where: str) -> PublicKey:
    """Return the key that `text` (base64) is.

    Raises:
        Rejected: an algorithm that is none of ours, or a key in another form, off its curve, or of small order.
    """
    try:
        known = Algorithm(algorithm)
    except ValueError as error:
        raise Rejected(Flaw.ALGORITHM, where, f"expected ed25519 or p256, found {algorithm!r}") from error
    key = PublicKey(algorithm=known, raw=decode_base64(text, where))
    try:
        sound = not has_small_order(key.raw) if known is Algorithm.ED25519 else _is_compressed(key.raw)
        _ = key._verifier
    except ValueError as error:
        raise Rejected(Flaw.WEAK_KEY, where, f"expected a {known} key, found: {error}") from error
    if not sound:
        raise Rejected(Flaw.WEAK_KEY, where, f"expected a sound {known} key, found one for which anybody can sign")
    return key


def decode_base64(text: str, where: str) -> bytes:
    """Return the bytes of which `text` is the one base64 form (RFC 4648 §4, §3.5: padded, unused bits zero).

    Raises:
        Rejected: any other text.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Rejected(Flaw.ENCODING, where, f"expected base64, found: {error}") from error
    if base64.b64encode(data).decode() != text:
        raise Rejected(Flaw.ENCODING, where, "expected base64 in its one form, found another")
    return data


def _is_compressed(raw: bytes) -> bool:
    if len(raw) != 33 or raw[0] not in (2, 3):
        raise ValueError(f"{len(raw)} bytes that are no compressed point")
    return True


def _der(signature: bytes) -> bytes:
    """Return what OpenSSL takes. s in the upper half would be a second signature for the same message."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not 0 < r < P256_ORDER or not 0 < s <= P256_ORDER // 2:
        raise ValueError("r or s out of range")
    return encode_dss_signature(r, s)


def encode_base64(data: bytes) -> str:
    """Return the one base64 form of `data`."""
    return base64.b64encode(data).decode()
