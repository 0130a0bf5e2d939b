"""Value ↔ bytes, the only encoding: what is hashed, signed or stored has exactly one form.

RFC 8785 without floats: keys sorted by UTF-16 code unit, no spaces, shortest escapes, UTF-8, integers of 64 bits.
Integers may exceed 2^53 (times are nanoseconds), where RFC 8785 would round. No file is read, nothing is signed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeAlias

MAX_DEPTH = 64
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1

Value: TypeAlias = "bool | int | str | list[Value] | dict[str, Value] | None"


class CanonicalError(ValueError):
    """A value that has no canonical form, or bytes that are not in it."""


def encode(value: object) -> bytes:
    """Return the canonical bytes of `value`.

    Takes None, bool, int, str, and mappings, lists and tuples of these.

    Raises:
        CanonicalError: for any other type, an integer over 64 bits, a lone surrogate, or nesting over MAX_DEPTH.
    """
    text = json.dumps(_ordered(value, "$", MAX_DEPTH), ensure_ascii=False, separators=(",", ":"), check_circular=False)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise CanonicalError(f"expected Unicode text, found a lone surrogate: {error.reason}") from error


def decode(data: bytes) -> Value:
    """Return the value of which `data` is the canonical form, and of no other bytes.

    Raises:
        CanonicalError: for anything else: spaces, another order, a repeated key, a float, what is not JSON.
    """
    try:
        value: Value = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_float=_refuse, parse_constant=_refuse, parse_int=_integer
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CanonicalError(f"expected canonical JSON: {error}") from error
    if encode(value) != data:
        raise CanonicalError("expected canonical JSON, found JSON written another way (order, spaces or escapes)")
    return value


def _ordered(value: object, path: str, depth: int) -> Value:
    """Check `value` and rebuild it with each mapping's keys in order."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return _bounded(value, path)
    if depth == 0:
        raise CanonicalError(f"{path}: expected at most {MAX_DEPTH} levels, found more")
    if isinstance(value, Mapping):
        return {key: _ordered(value[key], f"{path}.{key}", depth - 1) for key in _sorted(value, path)}
    if isinstance(value, (list, tuple)):
        return [_ordered(item, path, depth - 1) for item in value]
    raise CanonicalError(f"{path}: expected null, true, an integer, text, a list or a mapping, found {_kind(value)}")


def _sorted(keys: Iterable[Any], path: str) -> list[str]:
    """Sort keys by UTF-16 code unit (RFC 8785 §3.2.3), which is not code point order beyond U+FFFF."""
    names = list(keys)
    for name in names:
        if not isinstance(name, str):
            raise CanonicalError(f"{path}: expected text as key, found {_kind(name)}")
    if all(name.isascii() for name in names):
        return sorted(names)
    return sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass"))


def _bounded(number: int, path: str) -> int:
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise CanonicalError(f"{path}: expected an integer of 64 bits, found one of {number.bit_length()}")
    return int(number)


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise CanonicalError("expected each key once, found one repeated")
    return mapping


def _integer(digits: str) -> int:
    if len(digits) > len(str(MIN_INTEGER)):
        raise CanonicalError(f"expected an integer of 64 bits, found {len(digits)} digits")
    return int(digits)


def _refuse(text: str) -> NoReturn:
    raise CanonicalError(f"expected an integer, found {text}")


def _kind(value: object) -> str:
    return type(value).__name__
