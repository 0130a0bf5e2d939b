from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import units
from provision.units import UnitError


@given(st.integers(0, units.LARGEST))
def test_sizes_survive_being_written(size_bytes: int) -> None:
    assert units.parse_size(units.format_size(size_bytes)) == size_bytes


@given(st.integers(0, units.LARGEST // 10))
def test_durations_survive_being_written(duration_ns: int) -> None:
    assert units.parse_duration(units.format_duration(duration_ns)) == duration_ns


@given(st.integers(0, units.LARGEST))
def test_round_trips_survive_being_written(rtt_ns: int) -> None:
    assert units.parse_rtt(units.format_rtt(rtt_ns)) == rtt_ns


@given(st.integers(0, 10**18 - 1), st.from_regex(r"[A-Z]{3}", fullmatch=True))
def test_money_survives_being_written(micros: int, currency: str) -> None:
    assert units.parse_money(units.format_money(micros, currency)) == (micros, currency)


@given(st.integers(0, 7_200_000_000 * units.NANOSECONDS))
def test_instants_survive_being_written(instant_ns: int) -> None:
    assert units.parse_instant(units.format_instant(instant_ns)) == instant_ns


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("80GB", 80 * 10**9), ("80GiB", 80 * 2**30), ("1.5 TB", 15 * 10**11), ("0B", 0), ("512kB", 512_000)],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert units.parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("1d", 86_400), ("1.5h", 5400), ("1h30m15s", 5415)],
)
def test_durations(text: str, seconds: int) -> None:
    assert units.parse_duration(text) == seconds * units.NANOSECONDS


def test_durations_are_written_as_people_say_them() -> None:
    hour = units.parse_duration("1h")
    assert [units.format_duration(hours * hour) for hours in (0, 2, 36, 72)] == ["0s", "2h", "36h", "3d"]


@pytest.mark.parametrize(
    ("text", "rtt_ns"), [("5ms", 5_000_000), ("0.2ms", 200_000), ("200us", 200_000), ("1s", 10**9)]
)
def test_round_trips(text: str, rtt_ns: int) -> None:
    assert units.parse_rtt(text) == rtt_ns


@pytest.mark.parametrize(
    ("text", "instant_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T02:00+01:00", 3600 * 10**9),
        ("1970-01-01 00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
    ],
)
def test_instants(text: str, instant_ns: int) -> None:
    assert units.parse_instant(text) == instant_ns


def test_money() -> None:
    assert units.parse_money("2.10 EUR") == (2_100_000, "EUR")
    assert units.format_money(61_200_000, "EUR") == "61.20 EUR"
    assert units.format_money(1, "EUR") == "0.000001 EUR"


@pytest.mark.parametrize(
    "text", ["80", "80 Gb", "GB", "-1GB", "80gb", "1e3GB", "0.5B", "١GB", "9999999PB", "80GB ", ""]
)
def test_wrong_sizes_name_the_units(text: str) -> None:
    with pytest.raises(UnitError, match="expected a size such as 80GB") as refusal:
        units.parse_size(text)
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize("text", ["2", "2 hours", "30m1h", "1h1h", "h", "-2h", "1h 30m", "0.3ns", ""])
def test_wrong_durations_are_refused(text: str) -> None:
    with pytest.raises(UnitError, match="expected a duration such as 2h"):
        units.parse_duration(text)


@pytest.mark.parametrize("text", ["5", "5m", "5h", "five ms", "-5ms"])
def test_wrong_round_trips_name_the_units(text: str) -> None:
    with pytest.raises(UnitError, match="units: s, ms, us, ns"):
        units.parse_rtt(text)


@pytest.mark.parametrize("text", ["40", "€40", "40 eur", "40 EURO", "-40 EUR", "1,000 EUR", "0.0000001 EUR"])
def test_wrong_money_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="such as 40 EUR"):
        units.parse_money(text)


@pytest.mark.parametrize(
    "text",
    [
        "now",
        "2030-01-31",
        "2030-01-31T12:00:00",
        "2030-02-30T12:00:00Z",
        "2030-01-31T25:00:00Z",
        "9999-01-01T00:00:00Z",
    ],
)
def test_wrong_instants_are_refused(text: str) -> None:
    with pytest.raises(UnitError, match="expected an instant"):
        units.parse_instant(text)
