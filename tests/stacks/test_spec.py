from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks.errors import SpecInvalid
from stacks.spec import BookingSpec
from tests.stacks.conftest import booking_spec, host_spec


@given(st.integers(1, 40), st.integers(0, 9), st.sampled_from([(0,), (0, 1), (0, 1, 2)]))
def test_a_spec_survives_the_wire(hosts: int, slot: int, planes: tuple[int, ...]) -> None:
    spec = replace(booking_spec(hosts), slot=slot, planes=planes)
    assert BookingSpec.decode(spec.encode()) == spec


def test_a_spec_of_another_version_is_refused(spec: BookingSpec) -> None:
    with pytest.raises(SpecInvalid, match="expected version 1, found 9"):
        BookingSpec.decode(spec.encode().replace('"v":1', '"v":9'))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"head": "lab-z9"}, "expected the head among its hosts"),
        ({"hosts": (host_spec(1), host_spec(1))}, "each host and mesh index once"),
        ({"hosts": (host_spec(1), replace(host_spec(2), mesh_index=1))}, "each host and mesh index once"),
        ({"hosts": (replace(host_spec(1), mesh_index=0),)}, "1 to 65534"),
        ({"hosts": (replace(host_spec(1), mesh_index=65535),)}, "1 to 65534"),
        ({"planes": (3,)}, "planes among 0, 1 and 2"),
        ({"planes": ()}, "planes among 0, 1 and 2"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(spec: BookingSpec, changed: dict[str, object], message: str) -> None:
    with pytest.raises(SpecInvalid, match=message):
        BookingSpec.decode(replace(spec, **changed).encode())  # type: ignore[arg-type]
