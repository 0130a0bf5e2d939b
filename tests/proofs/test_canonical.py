from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.canonical import MAX_DEPTH, CanonicalError, decode, encode

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=25,
)


@given(VALUES)
def test_decode_is_the_inverse_of_encode(value: object) -> None:
    assert decode(encode(value)) == value


@given(VALUES)
def test_canonical_bytes_are_json(value: object) -> None:
    assert json.loads(encode(value)) == value


@given(st.dictionaries(TEXT, st.integers(0, 9), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_count(value: dict[str, int], random: object) -> None:
    items = list(value.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert encode(dict(items)) == encode(value)


@given(VALUES)
def test_json_written_another_way_is_refused(value: object) -> None:
    spaced = json.dumps(value, indent=1).encode()
    if spaced != encode(value):
        with pytest.raises(CanonicalError):
            decode(spaced)


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with suppress(CanonicalError):
        assert encode(decode(data)) == data


def test_keys_are_in_order_of_utf_16_as_in_rfc_8785() -> None:
    keys = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7}
    assert list(json.loads(encode(keys))) == ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]


def test_escapes_are_those_of_rfc_8785() -> None:
    assert encode('€$\x0f\nA\'B"\\\\"/\x7f') == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f"'.encode()


def test_tuples_are_lists() -> None:
    assert encode({"b": (1, 2), "a": None}) == b'{"a":null,"b":[1,2]}'


@pytest.mark.parametrize(
    "value", [1.0, float("nan"), 2**63, -(2**63) - 1, {1: 2}, {None: 1}, {1, 2}, b"x", "\ud800", {"\ud800": 1}]
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(CanonicalError):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" 1",
        b"1\n",
        b"1.0",
        b"1e3",
        b"-0",
        b"NaN",
        b"01",
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'"\\u0041"',
        b'"\\ud800"',
        b"\xff",
        b"\xef\xbb\xbf1",
        b"9223372036854775808",
        b"1" * 5000,
        b"[" * 100_000,
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CanonicalError):
        decode(data)


def test_nesting_has_a_limit() -> None:
    value: list[object] = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert decode(encode(value)) == value
    with pytest.raises(CanonicalError, match="levels"):
        encode([value])


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(CanonicalError, match=r"\$\.a\.b: expected .* found float"):
        encode({"a": {"b": 1.5}})
