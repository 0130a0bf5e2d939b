"""What is signed: in-toto Statements (v1) of the kinds of this format, each with one shape.

A statement of another kind, version or shape is rejected, whoever signed it: so no statement can be taken for another.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Generic, Literal, TypeVar

import msgspec

from proofs import typed
from proofs.errors import Flaw, Rejected

STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"
KIND_PREFIX = "urn:timelock:proof:"
LIMIT_BYTES = 768 * 1024
LARGEST = 2**63 - 1

Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Nonce = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


Path = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$")]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of what is stated."""


class Predicate(Part, frozen=True):
    """Base of what is stated. `KIND` names kind and version."""

    KIND: ClassVar[str]


class KeyEntry(Part, frozen=True):
    """A public key: algorithm (ed25519, p256), its bytes in base64, and the time for which it may sign."""

    algorithm: str
    public: str
    from_ns: Nanoseconds
    until_ns: Nanoseconds


class RoleEntry(Part, frozen=True):
    """Which keys act in a role, and how many of them must sign."""

    keyids: Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1, max_length=16)]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=16)]


class Keys(Predicate, frozen=True):
    """The control plane's keys, signed by the root: roles grant, witness, manifest."""

    KIND = "keys:v1"
    version: Count
    issued_ns: Nanoseconds
    keys: dict[Digest, KeyEntry]
    roles: dict[Name, RoleEntry]
    revoked: dict[Digest, Nanoseconds]


class Infrastructure(Part, frozen=True):
    """A program of the host's owner that may open GPUs, but not use them: by the digest of its executable."""

    executable: Digest
    uid: Count


class GrantedHost(Part, frozen=True):
    """A host of the booking: who reports for it, and which of its GPUs are booked."""

    agent_algorithm: str
    agent_public: str
    gpus: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=64)]


class Limits(Part, frozen=True):
    """How good the evidence must be. Coverage in parts per million."""

    sample_gap_ns: Nanoseconds
    witness_gap_ns: Nanoseconds
    longest_gap_ns: Nanoseconds
    least_coverage_ppm: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Grant(Predicate, frozen=True):
    """What opens a booking: signed by the control plane, and by the customer whose nonce it holds."""

    KIND = "grant:v1"
    booking: Name
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    customer_algorithm: str
    customer_public: str
    customer_nonce: Nonce
    hosts: Annotated[dict[Name, GrantedHost], msgspec.Meta(min_length=1, max_length=4096)]
    image: Digest
    mode: str
    required: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=9)]
    infrastructure: tuple[Infrastructure, ...]
    limits: Limits
    level: str
    simulated: bool


class Opening(Predicate, frozen=True):
    """The witness's first word to an agent: the nonce of its first heartbeat."""

    KIND = "opening:v1"
    grant: Digest
    agent: Digest
    at_ns: Nanoseconds
    nonce: Nonce


class Word(Predicate, frozen=True):
    """Base of what an agent says: so many records up to this instant, of which this is the head."""

    grant: Digest
    number: Count
    count: Count
    head: Digest
    boot_id: Nonce
    at_ns: Nanoseconds
    wall_ns: Nanoseconds
    nonce: Nonce


class Heartbeat(Word, frozen=True):
    """The agent's word while it watches."""

    KIND = "heartbeat:v1"


class Countersignature(Predicate, frozen=True):
    """The witness's word: it saw this heartbeat, or this close, at this time; and the nonce of the next."""

    KIND = "countersignature:v1"
    grant: Digest
    of: Digest
    at_ns: Nanoseconds
    sequence: Count
    nonce: Nonce


class Close(Word, frozen=True):
    """The agent's last word: the end of the chain."""

    KIND = "close:v1"


class FileEntry(Part, frozen=True):
    """A file of the bundle."""

    sha256: Digest
    size_bytes: Count


class Manifest(Predicate, frozen=True):
    """The control plane's list of all files of the bundle."""

    KIND = "manifest:v1"
    grant: Digest
    made_ns: Nanoseconds
    files: Annotated[dict[Path, FileEntry], msgspec.Meta(max_length=20_000)]


P = TypeVar("P", bound=Predicate)


class _Sha256(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sha256: Digest


class _Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    digest: _Sha256
    name: Text


class _Statement(msgspec.Struct, Generic[P], frozen=True, kw_only=True, forbid_unknown_fields=True):
    type_: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    predicate: P
    kind: Text = msgspec.field(name="predicateType")
    subject: Annotated[tuple[_Subject, ...], msgspec.Meta(min_length=1, max_length=1)]


def encode(predicate: Predicate, name: str, sha256: str) -> bytes:
    """Return the statement of `predicate` about the thing `name` with that digest (SHA-256, hex)."""
    return typed.encode(
        _Statement(
            type_=STATEMENT_TYPE,
            predicate=predicate,
            kind=KIND_PREFIX + predicate.KIND,
            subject=(_Subject(digest=_Sha256(sha256=sha256), name=name),),
        )
    )


def decode(payload: bytes, kind: type[P], where: str) -> tuple[P, str]:
    """Return the predicate of a statement, which must be of this kind, and the digest of its subject.

    Raises:
        Rejected: ENCODING, STATEMENT or SIZE.
    """
    shape = _Statement[kind]  # type: ignore[valid-type]
    found: _Statement[P] = typed.decode(payload, shape, where, flaw=Flaw.STATEMENT, limit_bytes=LIMIT_BYTES)
    if found.kind != KIND_PREFIX + kind.KIND:
        raise Rejected(Flaw.STATEMENT, where, f"expected {KIND_PREFIX + kind.KIND}, found {found.kind!r}")
    return found.predicate, found.subject[0].digest.sha256
