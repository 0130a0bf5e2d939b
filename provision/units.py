"""Text with a unit ↔ integers: sizes, durations, round trips, money and instants.

Integers only (bytes, nanoseconds, millionths), so that nothing is lost: each `format_*` is the exact inverse of its
`parse_*`. Every refusal is a UnitError that names what was expected, with an example and the accepted units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction

NANOSECONDS = 1_000_000_000
MICROS = 1_000_000

SIZES = (
    {"B": 1}
    | {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTP", 1)}
    | {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", 1)}
)
DURATIONS = {
    "d": 86_400 * NANOSECONDS,
    "h": 3600 * NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "s": NANOSECONDS,
    "ms": 1_000_000,
    "us": 1000,
    "ns": 1,
}
ROUND_TRIPS = {unit: DURATIONS[unit] for unit in ("s", "ms", "us", "ns")}

LARGEST = 10**18
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUANTITY = re.compile(r"(\d{1,30}(?:\.\d{1,30})?) ?([A-Za-zµ]+)", re.ASCII)
_DURATION = re.compile(r"(?:\d{1,30}(?:\.\d{1,30})?[A-Za-zµ]+)+", re.ASCII)
_PART = re.compile(r"([\d.]+)([A-Za-zµ]+)", re.ASCII)
_MONEY = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([A-Z]{3})", re.ASCII)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)


class UnitError(ValueError):
    """Text that is not the quantity it should be; the message says what was expected and found."""


def parse_size(text: str) -> int:
    """Return bytes: '80GB' is 80 × 10^9, '80GiB' is 80 × 2^30."""
    return _quantity(text, SIZES, "a size such as 80GB or 80GiB")


def format_size(size_bytes: int) -> str:
    """Return the shortest exact text of a size, decimal units first."""
    exact = [f"{size_bytes // factor}{unit}" for unit, factor in SIZES.items() if size_bytes % factor == 0 < size_bytes]
    return min(exact, key=len, default=f"{size_bytes}B")


def parse_duration(text: str) -> int:
    """Return nanoseconds of '2h', '90m' or '1h30m': units in falling order, each at most once."""
    expected = "a duration such as 2h, 90m or 1h30m"
    if not _DURATION.fullmatch(text):
        raise _refused(text, expected, DURATIONS)
    parts = _PART.findall(text)
    places = [list(DURATIONS).index(unit) for _, unit in parts if unit in DURATIONS]
    if len(places) != len(parts) or sorted(set(places)) != places:
        raise _refused(text, expected, DURATIONS)
    return sum(_quantity(number + unit, DURATIONS, expected) for number, unit in parts)


def format_duration(duration_ns: int) -> str:
    """Return '1h30m' and the like, exact to the nanosecond; days only from two on ('36h', '2d12h')."""
    text, rest = "", duration_ns
    for unit, factor in DURATIONS.items():
        if unit == "d" and rest < 2 * factor:
            continue
        number, rest = divmod(rest, factor)
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def parse_rtt(text: str) -> int:
    """Return nanoseconds of a round trip: '5ms', '0.2ms', '200us'."""
    return _quantity(text, ROUND_TRIPS, "a round-trip time such as 5ms or 200us")


def format_rtt(rtt_ns: int) -> str:
    """Return milliseconds, exact: '5ms', '0.2ms'."""
    return f"{_decimal(rtt_ns, 6, at_least=0)}ms"


def parse_money(text: str) -> tuple[int, str]:
    """Return (millionths, ISO 4217 code) of '40 EUR' or '2.10 EUR'."""
    found = _MONEY.fullmatch(text)
    if not found:
        raise UnitError(f"expected an amount and a currency such as 40 EUR (up to 6 decimals), found {text!r}")
    return int(Fraction(found[1]) * MICROS), found[2]


def format_money(micros: int, currency: str) -> str:
    """Return '40.00 EUR', with more decimals only where the amount has them."""
    return f"{_decimal(micros, 6, at_least=2)} {currency}"


def parse_instant(text: str) -> int:
    """Return nanoseconds since 1970 of an ISO 8601 instant with its offset, up to the year 2200."""
    found = _INSTANT.fullmatch(text)
    refusal = UnitError(f"expected an instant with its offset such as 2030-01-31T12:00:00Z, found {text!r}")
    if not found:
        raise refusal
    date, time, fraction, offset = found.groups()
    try:
        instant = datetime.fromisoformat(f"{date}T{time}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refusal from error
    if not 1970 <= instant.year <= 2200:
        raise UnitError(f"expected an instant between 1970 and 2200, found {text!r}")
    return (instant - _EPOCH) // timedelta(seconds=1) * NANOSECONDS + int((fraction or "0").ljust(9, "0"))


def format_instant(instant_ns: int) -> str:
    """Return '2030-01-31T12:00:00Z', with a fraction only where there is one."""
    seconds, fraction = divmod(instant_ns, NANOSECONDS)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{text}Z"


def _quantity(text: str, units: Mapping[str, int], expected: str) -> int:
    """Read one number with one unit; it must come to a whole number of the smallest unit."""
    found = _QUANTITY.fullmatch(text)
    if not found or found[2] not in units:
        raise _refused(text, expected, units)
    amount = Fraction(found[1]) * units[found[2]]
    smallest = min(units, key=lambda unit: units[unit])
    if amount.denominator != 1:
        raise UnitError(f"expected {expected}, found {text!r}, which is not a whole number of {smallest}")
    if amount > LARGEST:
        raise UnitError(f"expected {expected}, found {text!r}, which is more than Timelock counts")
    return int(amount)


def _refused(text: str, expected: str, units: Mapping[str, int]) -> UnitError:
    return UnitError(f"expected {expected} (units: {', '.join(units)}), found {text!r}")


def _decimal(amount: int, places: int, *, at_least: int) -> str:
    """Write `amount` / 10^places without rounding and without needless zeros."""
    whole, rest = divmod(amount, 10**places)
    decimals = f"{rest:0{places}d}".rstrip("0").ljust(at_least, "0")
    return f"{whole}.{decimals}" if decimals else str(whole)
