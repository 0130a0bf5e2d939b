"""Envelopes: what is signed is DSSE's, and statements are encoded as `canonical` would."""

from __future__ import annotations

import msgspec
import pytest

from proofs import canonical, envelope, records, statement, typed
from proofs.errors import Flaw, Rejected
from tests.proofs.world import SMALLEST, signer


def test_what_is_signed_is_the_pre_authentication_encoding() -> None:
    # DSSE protocol.md: PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body
    assert envelope.pre_authentication_encoding(b"hello world") == (
        b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    )
    assert envelope.pre_authentication_encoding("é".encode()).startswith(b"DSSEv1 28 application/vnd.in-toto+json 2 ")


def test_an_envelope_is_its_bytes() -> None:
    message = envelope.pre_authentication_encoding(b"{}")
    made = envelope.Envelope(
        payload=b"{}", signatures={each.public.keyid: each.sign(message) for each in (signer("a"), signer("b"))}
    )
    data = made.encode()
    assert envelope.decode(data, "x") == made
    assert canonical.encode(canonical.decode(data)) == data


def test_one_key_does_not_count_twice() -> None:
    message = envelope.pre_authentication_encoding(b"{}")
    one = signer("a")
    made = envelope.Envelope(payload=b"{}", signatures={one.public.keyid: one.sign(message)})
    with pytest.raises(Rejected) as rejected:
        envelope.require(made, {one.public.keyid: one.public}, 2, "x")
    assert rejected.value.flaw is Flaw.THRESHOLD


@pytest.mark.parametrize("value", SMALLEST, ids=lambda value: type(value).__name__)
def test_typed_and_plain_encoding_are_one(value: msgspec.Struct) -> None:
    assert typed.encode(value) == canonical.encode(msgspec.to_builtins(value))


def test_a_statement_of_one_kind_is_none_of_another() -> None:
    for value in SMALLEST:
        if isinstance(value, statement.Predicate):
            payload = statement.encode(value, "thing", "0" * 64)
            assert statement.decode(payload, type(value), "x") == (value, "0" * 64)
            other = statement.Close if not isinstance(value, statement.Close) else statement.Heartbeat
            with pytest.raises(Rejected) as rejected:
                statement.decode(payload, other, "x")
            assert rejected.value.flaw is Flaw.STATEMENT


def test_a_record_is_its_line() -> None:
    for value in SMALLEST:
        if isinstance(value, records.Record):
            assert records.decode(records.encode(value), "x") == value
