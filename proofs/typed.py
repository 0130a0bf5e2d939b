"""Typed values ↔ bytes: the encoding of `proofs.canonical` for known shapes, fast enough for a day of records.

A value is read only from its one form: what is decoded is encoded again and compared, which refuses repeated keys,
other orders, spaces, escapes and defaults that are written out. Keys are ASCII, so that every sorting agrees.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from proofs.errors import Flaw, Rejected

_ENCODER = msgspec.json.Encoder(order="sorted")


def encode(value: object) -> bytes:
    """Return the one form of a value made of the structs of this package."""
    return _ENCODER.encode(value)


def decode(data: bytes, kind: Any, where: str, *, flaw: Flaw, limit_bytes: int) -> Any:
    """Return the value of this kind of which `data` is the one form.

    Raises:
        Rejected: SIZE beyond `limit_bytes`; `flaw` for another shape; ENCODING for another form of the right shape.
    """
    if len(data) > limit_bytes:
        raise Rejected(Flaw.SIZE, where, f"expected at most {limit_bytes} bytes, found {len(data)}")
    try:
        value = _decoder(kind).decode(data)
    except msgspec.ValidationError as error:
        raise Rejected(flaw, where, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(Flaw.ENCODING, where, f"expected canonical JSON: {error}") from error
    if _ENCODER.encode(value) != data:
        raise Rejected(Flaw.ENCODING, where, "expected canonical JSON, found it written another way")
    return value


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
