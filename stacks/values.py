"""Pulumi's property values ↔ plain JSON values, and what in them is secret.

Pulumi knows only floating-point numbers: whole ones become int again. An unknown value (in a preview) stays the
marker string that Pulumi sends for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pulumi.provider.experimental.property_value import PropertyValue

SECRET_MASK = "[secret]"


def plain(value: PropertyValue) -> object:
    """The value without marks of secrecy and dependency."""
    match value.value:
        case None | bool() | str() as simple:
            return simple
        case float() as number:
            return int(number) if number.is_integer() else number
        case Mapping() as entries:
            return {key: plain(item) for key, item in entries.items()}
        case Sequence() as items:
            return [plain(item) for item in items]
        case other:
            raise TypeError(f"expected a JSON value, found {type(other).__name__}")


def plain_map(values: Mapping[str, PropertyValue]) -> dict[str, object]:
    """The properties of a resource without marks."""
    return {key: plain(value) for key, value in values.items()}


def marked(value: object) -> PropertyValue:
    """The property value of a JSON value, with nothing secret in it."""
    match value:
        case bool() | str() | None:
            return PropertyValue(value)
        case int() | float():
            return PropertyValue(float(value))
        case Mapping():
            return PropertyValue({str(key): marked(item) for key, item in value.items()})
        case list() | tuple():
            return PropertyValue([marked(item) for item in value])
        case _:
            raise TypeError(f"expected a JSON value, found {type(value).__name__}")


def secrets(value: PropertyValue, *, within: bool = False) -> Iterator[str]:
    """Every secret text in the value."""
    hidden = within or value.is_secret
    match value.value:
        case str() as text if hidden and text:
            yield text
        case Mapping() as entries:
            for item in entries.values():
                yield from secrets(item, within=hidden)
        case str():
            return
        case Sequence() as items:
            for item in items:
                yield from secrets(item, within=hidden)


def differences(old: object, new: object, where: str) -> Iterator[str]:
    """The paths, in Pulumi's notation, at which two JSON values differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{where}[{i}]")
    elif old != new:
        yield where
