"""Readings as JSON and back: each class is a list of its name and its fields, strictly as its annotations say.

For two processes of one agent, at one version; evidence has an encoding of its own (`proofs.canonical`). What a type
needs is worked out once: hundreds of rows pass every second.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from typing import Any

Convert = Callable[[Any], Any]


class NotAReading(ValueError):
    """JSON that is not the value it should be."""


def encode(value: Any) -> Any:
    """Give what json can write."""
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    kind: Any = type(value)
    if _is_class(kind):
        return _encoder(kind)(value)
    return value


def decode(wanted: Any, data: Any) -> Any:
    """Give the value of type `wanted`: a class, a union, tuple[…, ...], int, str, bool or None.

    Raises:
        NotAReading: the data is of another type or shape.
    """
    return _decoder(wanted)(data)


@functools.cache
def _encoder(kind: Any) -> Convert:
    name, fields = kind.__name__, _fields(kind)
    names = [field for field, _ in fields]
    if all(_scalar(hint) for _, hint in fields):
        return lambda value: [name, *[getattr(value, field) for field in names]]
    return lambda value: [name, *[encode(getattr(value, field)) for field in names]]


@functools.cache
def _decoder(wanted: Any) -> Convert:
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        return _decoder_of_union(typing.get_args(wanted))
    if origin is tuple:
        return _decoder_of_tuple(_decoder(typing.get_args(wanted)[0]))
    if _is_class(wanted):
        return _decoder_of_class(wanted)
    return _decoder_of_scalar(wanted)


def _decoder_of_scalar(wanted: Any) -> Convert:
    def convert(data: Any) -> Any:
        if type(data) is not wanted:
            raise NotAReading(f"expected {wanted.__name__}, found {data!r:.80}")
        return data

    return convert


def _decoder_of_union(choices: tuple[Any, ...]) -> Convert:
    """Choose by the name of a class, or by the type of what is none."""
    named = {one.__name__: _decoder(one) for one in choices if _is_class(one)}
    plain = {one for one in choices if not _is_class(one)}

    def convert(data: Any) -> Any:
        if type(data) in plain:
            return data
        if type(data) is list and data and type(data[0]) is str and data[0] in named:
            return named[data[0]](data)
        raise NotAReading(f"expected one of {', '.join(one.__name__ for one in choices)}, found {data!r:.80}")

    return convert


def _decoder_of_tuple(item: Convert) -> Convert:
    def convert(data: Any) -> Any:
        if type(data) is not list:
            raise NotAReading(f"expected a list, found {data!r:.80}")
        return tuple(map(item, data))

    return convert


def _decoder_of_class(wanted: Any) -> Convert:
    names = tuple(name for name, _ in _fields(wanted))
    items = tuple(_decoder(hint) for _, hint in _fields(wanted))

    def convert(data: Any) -> Any:
        if type(data) is not list or len(data) != len(names) + 1 or data[0] != wanted.__name__:
            raise NotAReading(f"expected {wanted.__name__} with {len(names)} fields, found {data!r:.80}")
        values = [item(field) for item, field in zip(items, data[1:], strict=True)]
        return wanted(**dict(zip(names, values, strict=True)))

    return convert


def _is_class(wanted: Any) -> bool:
    return dataclasses.is_dataclass(wanted)


def _scalar(hint: Any) -> bool:
    return all(one in (int, str, bool, type(None)) for one in typing.get_args(hint) or (hint,))


@functools.cache
def _fields(kind: Any) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(kind))
