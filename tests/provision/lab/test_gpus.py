"""Device numbers and UUIDs of the lab's GPUs."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import InvalidInput
from provision.lab.gpus import MAX_GPUS, gpu_devices, gpu_uuid


@pytest.mark.parametrize("count", range(MAX_GPUS + 1))
def test_each_gpu_and_the_control_device_has_a_number_of_its_own(count: int) -> None:
    nodes = gpu_devices(count)
    assert list(nodes) == [*(f"nvidia{index}" for index in range(count)), "nvidiactl"]
    assert len(set(nodes.values())) == count + 1


@pytest.mark.parametrize("count", [-1, MAX_GPUS + 1])
def test_more_than_there_are_numbers_for_is_refused(count: int) -> None:
    with pytest.raises(InvalidInput, match="expected 0 to 8 a host"):
        gpu_devices(count)


@given(st.text(min_size=1), st.integers(min_value=0, max_value=7))
def test_uuids_look_like_nvidias_and_stay_the_same(host: str, index: int) -> None:
    assert re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", gpu_uuid(host, index))
    assert gpu_uuid(host, index) == gpu_uuid(host, index) != gpu_uuid(host, index + 1)
