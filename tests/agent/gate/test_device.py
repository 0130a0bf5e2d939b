"""Device ranges are read as they are written, and nonsense is refused with what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.gate.device import MAX_MAJOR, MAX_MINOR, DeviceRange

minors = st.integers(0, MAX_MINOR)


@given(st.integers(0, MAX_MAJOR), minors, minors)
def test_what_is_written_is_read_again(major: int, one: int, other: int) -> None:
    made = DeviceRange(major=major, first=min(one, other), last=max(one, other))
    assert DeviceRange.parse(str(made)) == made


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("195:*", 0, MAX_MINOR), ("195:3", 3, 3), ("195:0-195:7", 0, 7), ("195:0-7", 0, 7)],
)
def test_the_ways_to_write_a_range(text: str, first: int, last: int) -> None:
    assert DeviceRange.parse(text) == DeviceRange(major=195, first=first, last=last)


@pytest.mark.parametrize(
    "text",
    ["", "195", "195:", "nvidia0", "195:7-195:0", "195:0-196:7", "4096:0", "7:1048576", "-1:0", "7:0 ", "٧:0", "7:0-"],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        DeviceRange.parse(text)
    assert "195:*" in refused.value.next_step


def test_a_number_is_in_its_range() -> None:
    consoles = DeviceRange.parse("7:0-7:7")
    assert (7, 7) in consoles
    assert (7, 8) not in consoles
    assert (8, 0) not in consoles
