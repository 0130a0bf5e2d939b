"""The fake GPU machine as fixtures: `fake_nvml` has two GPUs; `new_fake_nvml` makes others."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.nvml import build
from tests.nvml.fake import FakeNvml, gpus

FakeNvmlMaker = Callable[..., FakeNvml]


@pytest.fixture
def new_fake_nvml(tmp_path: Path) -> Iterator[FakeNvmlMaker]:
    """Make machines: `new_fake_nvml(8, missing=("nvml…_v3",))`; their users end with the test."""
    if obstacle := build.obstacle():
        pytest.skip(obstacle)
    with ExitStack() as made:

        def make(count: int = 2, *, missing: tuple[str, ...] = ()) -> FakeNvml:
            root = tmp_path / f"fake-nvml-{len(list(tmp_path.iterdir()))}"
            return made.enter_context(FakeNvml(root, gpus(count), missing=missing))

        yield make


@pytest.fixture
def fake_nvml(new_fake_nvml: FakeNvmlMaker) -> FakeNvml:
    """A machine with two GPUs that nobody uses."""
    return new_fake_nvml()
