"""Readers of single inventory values, each of which says what it expected and what it found.

An INI file gives text where YAML gives lists and mappings, so that these may also come as JSON text.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

from provision import units

ACCESS_RTT_NS = units.parse_rtt("0.1ms")
SOC2_VALID_DAYS = 365
HIGHEST_PRICE_MICROS = 10**12
MOST = 10**6
LONGEST_SHOWN = 80

HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]{0,62}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ENDPOINT = re.compile(r"(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):\d{1,5}")
_HOST_KEY = re.compile(r"((?:ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/]{40,}={0,2})(?: .*)?")


class Missing:
    """Stands for a value that is not there."""

    def __repr__(self) -> str:
        return "nothing"


def shown(value: object) -> str:
    """Describe a value for a message, shortly; of one that Ansible keeps encrypted only that it is so."""
    if not isinstance(value, (str, int, float, list, dict, date, Missing)):
        return type(value).__name__
    written = repr(value)
    return written if len(written) <= LONGEST_SHOWN else f"{written[:LONGEST_SHOWN]}…"


def text(value: object) -> str:
    """Read text; a number counts as such, since an INI file cannot tell them apart."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"expected text, found {shown(value)}")
    return str(value).strip() if isinstance(value, str) else str(int(value))


def matching(pattern: re.Pattern[str], expected: str) -> Callable[[object], str]:
    """Return a reader of text of one pattern."""

    def read(value: object) -> str:
        if isinstance(value, Missing) or not pattern.fullmatch(text(value)):
            raise ValueError(f"expected {expected}, found {shown(value)}")
        return text(value)

    return read


name = matching(_NAME, "a name of letters, digits, '.', '_' and '-'")
region = matching(_REGION, "a region such as eu-west")
endpoint = matching(_ENDPOINT, "a registry's address such as registry.example:5000")
address = matching(re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:]+"), "an address or a name")


def whole(value: object, least: int, most: int) -> int:
    """Read a whole number between two bounds."""
    digits = "" if isinstance(value, Missing) else text(value)
    if not (digits.isascii() and digits.isdigit()) or not least <= int(digits[:20]) <= most:
        raise ValueError(f"expected a whole number from {least} to {most}, found {shown(value)}")
    return int(digits)


def count(value: object) -> int:
    """Read a number of things, at least one."""
    return whole(value, 1, MOST)


def port(value: object) -> int:
    """Read a TCP port."""
    return whole(value, 1, 65_535)


def tier(value: object) -> int | None:
    """Read a data-centre tier."""
    return whole(value, 1, 4)


@lru_cache(maxsize=4096)
def _size(written: str) -> int:
    return units.parse_size(written)


def size(value: object) -> int:
    """Read a size in bytes."""
    return _size(_quantity(value, "a size such as 80GB"))


def rtt(value: object) -> int:
    """Read a round-trip time in nanoseconds."""
    return units.parse_rtt(_quantity(value, "a round-trip time such as 5ms"))


def price(value: object) -> tuple[int, str]:
    """Read the price of one GPU for one hour, in millionths, and its currency."""
    micros, currency = units.parse_money(_quantity(value, "a price such as 2.10 EUR"))
    if micros > HIGHEST_PRICE_MICROS:
        highest = units.format_money(HIGHEST_PRICE_MICROS, currency)
        raise ValueError(f"expected at most {highest}, found {shown(value)}")
    return micros, currency


def soc2_until(value: object) -> int | None:
    """Read the date of a SOC2 report; return the instant to which it counts, 365 days later, midnight UTC."""
    try:
        reported = date.fromisoformat(str(value))
        return units.parse_instant(f"{reported + timedelta(days=SOC2_VALID_DAYS)}T00:00:00Z")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected the date of a report such as 2030-01-31, found {str(value)!r}") from error


def host_key(value: object) -> str | None:
    """Read a public host key as in known_hosts, without its comment."""
    found = _HOST_KEY.fullmatch(text(value))
    if not found:
        raise ValueError(f"expected a public key such as 'ssh-ed25519 AAAA…', found {shown(value)}")
    return found[1]


def networks(value: object) -> tuple[str, ...]:
    """Read the networks from which hosts are managed."""
    listed = structured(value)
    try:
        return tuple(str(ipaddress.ip_network(str(item))) for item in (listed if isinstance(listed, list) else [value]))
    except ValueError as error:
        raise ValueError(f"expected networks such as [10.0.0.0/24], found {shown(value)} ({error})") from error


def file_beside(inventory: Path) -> Callable[[object], str]:
    """Return a reader of file names, which are relative to the folder of the inventory."""
    folder = inventory.absolute() if inventory.is_dir() else inventory.absolute().parent

    def read(value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"expected the name of a file, found {shown(value)}")
        return str(folder / Path(str(value)).expanduser())

    return read


def site_rtt(value: object) -> dict[tuple[str, str], int]:
    """Read {site: {site: round trip}} into pairs in alphabetical order."""
    table = structured(value)
    pairs: dict[tuple[str, str], int] = {}
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise ValueError(f"expected {{site: {{site: 3ms}}}}, found {shown(value)}")
    for one, row in table.items():
        for other, measured in row.items():
            pair = (min(str(one), str(other)), max(str(one), str(other)))
            pairs[pair] = max(pairs.get(pair, 0), rtt(measured))
    return pairs


def structured(value: object) -> object:
    """Return the list or mapping that JSON text stands for, and any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, found {shown(value)} ({error})") from error


def _quantity(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected {expected}, found {shown(value)}")
    return str(value).strip()
