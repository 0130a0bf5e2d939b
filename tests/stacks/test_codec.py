from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from stacks import codec
from stacks.errors import SpecInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    count: int
    inner: Inner
    maybe: str | None = None
    table: Mapping[str, int]
    anything: Mapping[str, object]


WHOLE = Outer(count=3, inner=Inner(names=("a", "ü")), table={"x": 1}, anything={"y": [1, {"z": None}]})


def test_what_is_dumped_is_loaded() -> None:
    assert codec.load(Outer, codec.dump(WHOLE, version=1), version=1) == WHOLE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected version 1, found None"),
        ('{"v": 2}', "expected version 1, found 2"),
        ('{"v": 1, "names": "a"}', "expected list, found 'a'"),
        ('{"v": 1, "names": [1]}', r"Inner\.names\[0\]: expected str, found 1"),
        ('{"v": 1}', r"unknown or missing: \['names'\]"),
        ('{"v": 1, "names": [], "more": 1}', r"unknown or missing: \['more'\]"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SpecInvalid, match=message):
        codec.load(Inner, text, version=1)


@pytest.mark.parametrize("count", [True, 1.5, "1", None])
def test_an_int_is_an_int(count: object) -> None:
    with pytest.raises(SpecInvalid, match="expected int"):
        codec.build(int, count, "count")
