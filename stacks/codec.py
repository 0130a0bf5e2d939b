"""The small types of this package ↔ JSON, parsed strictly at the door.

Knows dataclasses, tuples, string-keyed mappings, optionals and plain values; nothing else crosses a process here.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass

from stacks.errors import SpecInvalid

T = typing.TypeVar("T")


def dump(value: object, *, version: int | None = None) -> str:
    """The value as one line of JSON; an object carries `v` when a version is given."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    if version is not None and isinstance(plain, dict):
        plain = {"v": version, **plain}
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)


def load(kind: type[T], text: str | bytes, *, version: int | None = None) -> T:
    """Read what `dump` wrote.

    Raises:
        SpecInvalid: the field, what was expected there and what was found.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SpecInvalid(f"{kind.__name__}: expected JSON, found: {error}") from error
    if version is not None:
        found = value.pop("v", None) if isinstance(value, dict) else None
        if found != version:
            raise SpecInvalid(f"{kind.__name__}: expected version {version}, found {found!r}")
    return build(kind, value, kind.__name__)


def build(kind: type[T], value: object, where: str) -> T:
    """Make a value of the type `kind` out of parsed JSON.

    Raises:
        SpecInvalid: it does not fit; `where` names the place.
    """
    return typing.cast(T, _build(kind, value, where))


def _build(kind: object, value: object, where: str) -> object:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if value is None and type(None) in args else _build(args[0], value, where)
    if origin is tuple:
        items = _expect(list, value, where)
        return tuple(_build(args[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin in (dict, Mapping):
        return {key: _build(args[1], item, f"{where}.{key}") for key, item in _expect(dict, value, where).items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _build_dataclass(kind, _expect(dict, value, where), where)
    if isinstance(kind, type) and kind is not object:
        return _expect(kind, value, where)
    return value


def _build_dataclass(kind: type, value: Mapping[str, object], where: str) -> object:
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    if wrong := (value.keys() - known.keys()) | (needed - value.keys()):
        raise SpecInvalid(f"{where}: expected the fields {sorted(known)}, unknown or missing: {sorted(wrong)}")
    return kind(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _expect(kind: type[T], value: object, where: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SpecInvalid(f"{where}: expected {kind.__name__}, found {value!r:.80}")
    return value
