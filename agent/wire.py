"""Readings as JSON and back: each class is a list of its fields after its name, strictly as its annotations say.

For two processes of one agent, at one version; evidence has an encoding of its own (`proofs.canonical`).
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any


class NotAReading(ValueError):
    """JSON that is not the value it should be."""


def encode(value: Any) -> Any:
    """Give what json can write."""
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *(encode(getattr(value, name)) for name, _ in _fields(type(value)))]
    return value


def decode(wanted: Any, data: Any) -> Any:
    """Give the value of type `wanted`: a class, a union of classes, tuple[…, ...], int, str, bool or None.

    Raises:
        NotAReading: the data is of another type or shape.
    """
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        return _decode_one_of(typing.get_args(wanted), data)
    if origin is tuple:
        return _decode_tuple(typing.get_args(wanted), data)
    if dataclasses.is_dataclass(wanted):
        return _decode_class(wanted, data)
    if type(data) is not wanted:
        raise NotAReading(f"expected {wanted}, found {data!r:.80}")
    return data


def _decode_one_of(wanted: tuple[Any, ...], data: Any) -> Any:
    for one in wanted:
        if _could_be(one, data):
            return decode(one, data)
    raise NotAReading(f"expected one of {wanted}, found {data!r:.80}")


def _could_be(wanted: Any, data: Any) -> bool:
    if dataclasses.is_dataclass(wanted):
        return isinstance(data, list) and data[:1] == [getattr(wanted, "__name__", "")]
    return type(data) is wanted


def _decode_tuple(arguments: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise NotAReading(f"expected a list, found {data!r:.80}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(decode(arguments[0], item) for item in data)
    if len(arguments) != len(data):
        raise NotAReading(f"expected {len(arguments)} items, found {len(data)}")
    return tuple(decode(wanted, item) for wanted, item in zip(arguments, data, strict=True))


def _decode_class(wanted: Any, data: Any) -> Any:
    fields = _fields(wanted)
    if not _could_be(wanted, data) or len(data) != len(fields) + 1:
        raise NotAReading(f"expected {wanted.__name__} with {len(fields)} fields, found {data!r:.80}")
    return wanted(**{name: decode(kind, item) for (name, kind), item in zip(fields, data[1:], strict=True)})


@functools.cache
def _fields(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(kind))
