"""Signed bytes: DSSE envelopes in exactly one form. What is signed is what was received, never a re-encoding.

DSSE v1.0.2 (protocol.md, envelope.md) with one payload type, base64 and JSON in their one form each, and key ids that
are digests of keys: whoever changes a byte changes what is signed, or breaks the form.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from proofs import typed
from proofs.errors import Flaw, Rejected
from proofs.keys import PublicKey, decode_base64

PAYLOAD_TYPE: Literal["application/vnd.in-toto+json"] = "application/vnd.in-toto+json"
LIMIT_BYTES = 1 << 20
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    keyid: _Digest
    sig: str


class _Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    payload: str
    kind: Literal["application/vnd.in-toto+json"] = msgspec.field(name="payloadType")
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(min_length=1, max_length=8)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload and the signatures over it, by key id."""

    payload: bytes
    signatures: Mapping[str, bytes]

    @property
    def signed(self) -> bytes:
        """What the signatures are over: the pre-authentication encoding of DSSE."""
        return pre_authentication_encoding(self.payload)

    def encode(self) -> bytes:
        """Return the one form of this envelope."""
        each = sorted(self.signatures.items())
        signatures = tuple(_Signature(keyid=keyid, sig=base64.b64encode(value).decode()) for keyid, value in each)
        payload = base64.b64encode(self.payload).decode()
        return typed.encode(_Wire(payload=payload, kind=PAYLOAD_TYPE, signatures=signatures))


def pre_authentication_encoding(payload: bytes) -> bytes:
    """Return PAE(type, payload) of DSSE: lengths are those of bytes."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def digest(data: bytes) -> str:
    """Return the SHA-256 (hex) by which other statements name an envelope: over its one form, signatures included."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, where: str) -> Envelope:
    """Return the envelope of which `data` is the one form.

    Raises:
        Rejected: ENCODING, ENVELOPE or SIZE.
    """
    wire: _Wire = typed.decode(data, _Wire, where, flaw=Flaw.ENVELOPE, limit_bytes=LIMIT_BYTES)
    keyids = [signature.keyid for signature in wire.signatures]
    if sorted(set(keyids)) != keyids:
        raise Rejected(Flaw.ENVELOPE, where, "expected signatures in the order of their keys, each key once")
    signatures = {signature.keyid: decode_base64(signature.sig, where) for signature in wire.signatures}
    return Envelope(payload=decode_base64(wire.payload, where), signatures=signatures)


def signers(envelope: Envelope, keys: Mapping[str, PublicKey], where: str) -> frozenset[str]:
    """Return the ids of the keys that signed; every signature must be one of theirs and fit.

    Raises:
        Rejected: SIGNER for a key that is not among `keys`, SIGNATURE for one that does not fit.
    """
    signed = envelope.signed
    for keyid, signature in envelope.signatures.items():
        key = keys.get(keyid)
        if key is None:
            raise Rejected(Flaw.SIGNER, where, f"signed by key {keyid[:16]}…, which has no say here")
        if not key.verifies(signed, signature):
            raise Rejected(Flaw.SIGNATURE, where, f"the signature of key {keyid[:16]}… does not fit")
    return frozenset(envelope.signatures)


def require(envelope: Envelope, keys: Mapping[str, PublicKey], threshold: int, where: str) -> None:
    """Require signatures of `threshold` different keys among `keys`, and no other.

    Raises:
        Rejected: SIGNER, SIGNATURE or THRESHOLD.
    """
    found = signers(envelope, keys, where)
    if len(found) < threshold:
        raise Rejected(Flaw.THRESHOLD, where, f"expected signatures of {threshold} keys, found {len(found)}")
