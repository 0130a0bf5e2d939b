"""Readers of what only a request says: windows, wishes, tiers, regions, destinations.

Each turns a YAML node into a value or raises ValueError with 'expected …, found …'.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import TypeVar

import yaml

from provision import units
from provision.request.fields import Read, found, items, scalar, whole_number
from provision.request.model import Egress, Wish

T = TypeVar("T")

WISHES: tuple[Wish, ...] = ("require", "prefer", "any")

_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DESTINATION = re.compile(r"(?:\[([0-9a-f:./]+)\]|([0-9./]+)):(\d{1,5})(?:/(tcp|udp))?", re.IGNORECASE)


def start(node: yaml.Node) -> int | None:
    """Read the start of a window; None is now."""
    text = scalar(node)
    if text == "now":
        return None
    try:
        return units.parse_instant(text)
    except units.UnitError as error:
        raise ValueError(str(error).replace("expected ", "expected now or ", 1)) from error


def duration(node: yaml.Node) -> int:
    """Read a duration longer than nothing, in nanoseconds."""
    duration_ns = units.parse_duration(scalar(node))
    if duration_ns == 0:
        raise ValueError(f"expected a duration longer than nothing, found {scalar(node)}")
    return duration_ns


def money(node: yaml.Node) -> tuple[int | None, str | None]:
    """Read an amount in millionths and its currency."""
    return units.parse_money(scalar(node))


def wish(node: yaml.Node) -> Wish:
    """Read require, prefer or any."""
    for known in WISHES:
        if scalar(node) == known:
            return known
    raise ValueError(f"expected one of {', '.join(WISHES)}; found {found(node)}")


def tier(node: yaml.Node) -> tuple[int | None, Wish]:
    """Read `3` (required), `{prefer: 3}`, `{require: 3}` or `any`."""
    level = whole_number(1, 4)
    if isinstance(node, yaml.MappingNode) and len(node.value) == 1:
        key, value = node.value[0]
        if scalar(key) in ("require", "prefer"):
            return level(value), wish(key)
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:int":
        return level(node), "require"
    if isinstance(node, yaml.ScalarNode) and node.value == "any":
        return None, "require"
    raise ValueError(f"expected a tier from 1 to 4, {{prefer: 3}} or any; found {found(node)}")


def regions(node: yaml.Node) -> tuple[str, ...]:
    """Read one region or a list of them, in alphabetical order."""
    read = matching(_REGION, "a region such as eu or eu-west")
    return tuple(sorted({read(item) for item in items(node)}))


def egress(node: yaml.Node) -> tuple[Egress, ...]:
    """Read none, or destinations, each once and in order."""
    if isinstance(node, yaml.ScalarNode) and node.value == "none":
        return ()
    return tuple(sorted({_destination(item) for item in items(node)}, key=str))


def _destination(node: yaml.Node) -> Egress:
    expected = "expected none, or a list of destinations such as '10.0.0.0/8:443', '[2001:db8::/32]:443/udp'"
    match = _DESTINATION.fullmatch(scalar(node))
    if not match or not 1 <= int(match[3]) <= 65_535:
        raise ValueError(f"{expected}, found {found(node)}")
    try:
        network = ipaddress.ip_network(match[1] or match[2])
    except ValueError as error:
        raise ValueError(f"{expected}, found {found(node)} ({error})") from error
    return Egress(cidr=str(network), port=int(match[3]), protocol="udp" if (match[4] or "").lower() == "udp" else "tcp")


def matching(pattern: re.Pattern[str], expected: str) -> Read[str]:
    """Return a reader of text of one pattern."""

    def read(node: yaml.Node) -> str:
        if not pattern.fullmatch(scalar(node, expected)):
            raise ValueError(f"expected {expected}; found {found(node)}")
        return scalar(node)

    return read


def unit(parse: Callable[[str], T]) -> Read[T]:
    """Return a reader of text with a unit."""
    return lambda node: parse(scalar(node))
