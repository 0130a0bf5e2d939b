"""Whom to believe: the root that a customer pinned, and the keys that it has given roles to.

`trust.json` comes to the customer by another way than the bundle. Roots that a bundle brings along mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from proofs import envelope, keys, statement, typed
from proofs.envelope import Envelope
from proofs.errors import Flaw, ProofError, Rejected
from proofs.keys import PublicKey

LIMIT_BYTES = 64 * 1024
ROLES = ("grant", "manifest", "witness")


class _Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    algorithm: str
    public: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    v: Literal[1]
    root: Annotated[tuple[_Key, ...], msgspec.Meta(min_length=1, max_length=16)]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=16)]
    customer: _Key | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The root's keys, how many of them must sign, and the customer's own key if it is pinned too."""

    root: Mapping[str, PublicKey]
    threshold: int
    customer: PublicKey | None = None

    @classmethod
    def parse(cls, data: bytes, where: str) -> Trust:
        """Read trust.json.

        Raises:
            ProofError: it is none, so that nothing can be judged.
        """
        try:
            file = msgspec.json.decode(data, type=_File)
            root = _by_id(keys.parse(key.algorithm, key.public, where) for key in file.root)
            pinned = file.customer
            customer = keys.parse(pinned.algorithm, pinned.public, where) if pinned else None
        except (msgspec.MsgspecError, UnicodeDecodeError, Rejected) as error:
            raise ProofError(
                f"{where}: expected a trust root of version 1, found: {error}",
                next_step="get trust.json again from whom you trust, by another way than the bundle",
            ) from error
        if len(root) < file.threshold:
            raise ProofError(f"{where}: expected at least {file.threshold} different root keys, found {len(root)}")
        return cls(root=root, threshold=file.threshold, customer=customer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The control plane's keys as the root has signed them."""

    version: int
    keys: Mapping[str, PublicKey]
    _entries: statement.Keys

    @classmethod
    def open(cls, data: bytes, trust: Trust, where: str) -> Keyring:
        """Read keys.json, which the root must have signed.

        Raises:
            Rejected: KEYS for a list that contradicts itself, and whatever is wrong with envelope and statement.
        """
        signed = envelope.decode(data, where)
        envelope.require(signed, trust.root, trust.threshold, where)
        entries, _ = statement.decode(signed.payload, statement.Keys, where)
        found = _by_id(keys.parse(entry.algorithm, entry.public, where) for entry in entries.keys.values())
        if set(found) != set(entries.keys):
            raise Rejected(Flaw.KEYS, where, "a key under another id than its own")
        for role in ROLES:
            named = entries.roles.get(role)
            if named is None or not set(named.keyids) <= set(found) or len(set(named.keyids)) < named.threshold:
                raise Rejected(Flaw.KEYS, where, f"expected the keys of role {role}, found too few of them")
        return cls(version=entries.version, keys=found, _entries=entries)

    def require(self, signed: Envelope, role: str, at_ns: int, where: str) -> None:
        """Require that the role signed, with keys that were good at that instant, and nobody else.

        Raises:
            Rejected: SIGNER, SIGNATURE, THRESHOLD; KEYS or REVOKED for a key that was not good then.
        """
        envelope.require(signed, *self.of(role), where)
        self.require_good(signed.signatures, at_ns, where)

    def of(self, role: str) -> tuple[Mapping[str, PublicKey], int]:
        """The keys of a role, and how many must sign."""
        entry = self._entries.roles[role]
        return {keyid: self.keys[keyid] for keyid in entry.keyids}, entry.threshold

    def require_good(self, keyids: Iterable[str], at_ns: int, where: str) -> None:
        """Require that each of our keys among these was valid, and not revoked, at that instant."""
        for keyid in keyids:
            entry = self._entries.keys.get(keyid)
            if entry and not entry.from_ns <= at_ns < entry.until_ns:
                raise Rejected(Flaw.KEYS, where, f"key {keyid[:16]}… was not valid at {at_ns}")
            if self._entries.revoked.get(keyid, at_ns + 1) <= at_ns:
                raise Rejected(Flaw.REVOKED, where, f"key {keyid[:16]}… was revoked before {at_ns}")


def _by_id(found: Iterable[PublicKey]) -> dict[str, PublicKey]:
    return {key.keyid: key for key in found}


def encode_trust(root: Mapping[str, PublicKey], threshold: int, customer: PublicKey | None = None) -> bytes:
    """Return trust.json for these keys."""
    each = tuple(_wire(root[keyid]) for keyid in sorted(root))
    pinned = _wire(customer) if customer else None
    return typed.encode(_File(v=1, root=each, threshold=threshold, customer=pinned))


def _wire(key: PublicKey) -> _Key:
    return _Key(algorithm=key.algorithm, public=keys.encode_base64(key.raw))
