"""Keys and signatures have one form each; keys that bind nothing are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import edwards, keys
from proofs.errors import Flaw, Rejected
from tests.proofs.world import signer

MESSAGE = b"message"
EIGHTH = 55188659117513257062467267217118295137698188065244968500265048394206261417927
"""The y of a point of order eight; P - y is that of the others."""
SMALL_ORDER = [
    (0, 0), (0, 1), (1, 0), (edwards.P - 1, 0),
    (EIGHTH, 0), (EIGHTH, 1), (edwards.P - EIGHTH, 0), (edwards.P - EIGHTH, 1),
]  # fmt: skip
"""The eight points whose order divides eight, by y and the sign of x."""


def encoded(y: int, sign: int) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


@pytest.mark.parametrize(("y", "sign"), SMALL_ORDER)
def test_points_of_small_order(y: int, sign: int) -> None:
    assert edwards.has_small_order(encoded(y, sign))
    with pytest.raises(Rejected) as rejected:
        keys.parse("ed25519", keys.encode_base64(encoded(y, sign)), "here")
    assert rejected.value.flaw is Flaw.WEAK_KEY


@pytest.mark.parametrize(
    "raw", [encoded(edwards.P, 0), encoded(edwards.P + 1, 0), encoded(1, 1), encoded(2, 0), bytes(31), bytes(33)]
)
def test_what_is_not_the_one_form_of_a_point(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        edwards.has_small_order(raw)


@given(st.binary(min_size=1, max_size=8))
def test_a_real_key_has_no_small_order(name: bytes) -> None:
    assert not edwards.has_small_order(signer(name.hex()).public.raw)


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_a_signature_fits_its_message_and_key_alone(algorithm: str) -> None:
    one, other = signer("one", algorithm), signer("other", algorithm)
    signature = one.sign(MESSAGE)
    assert one.public.verifies(MESSAGE, signature)
    assert not one.public.verifies(MESSAGE + b"!", signature)
    assert not other.public.verifies(MESSAGE, signature)
    for wrong in (b"", signature[:-1], signature + b"\0", bytes(64), b"\xff" * 64):
        assert not one.public.verifies(MESSAGE, wrong)
    for at in range(64):
        changed = signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :]
        assert not one.public.verifies(MESSAGE, changed)


def test_s_beyond_the_order_is_no_second_signature() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = signer("one").sign(MESSAGE)
    s = int.from_bytes(signature[32:], "little") + order
    assert not signer("one").public.verifies(MESSAGE, signature[:32] + s.to_bytes(32, "little"))


def test_one_key_has_one_name() -> None:
    one = signer("one").public
    assert keys.parse("ed25519", keys.encode_base64(one.raw), "x").keyid == one.keyid
    assert signer("one", "p256").public.keyid != one.keyid


@pytest.mark.parametrize("prefix", [b"\x04", b"\x05"])
def test_a_p256_point_in_another_form(prefix: bytes) -> None:
    raw = prefix + signer("one", "p256").public.raw[1:]
    with pytest.raises(Rejected):
        keys.parse("p256", keys.encode_base64(raw), "x")
