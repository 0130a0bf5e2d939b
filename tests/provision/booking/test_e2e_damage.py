"""What is kept about a booking can be wrong, damaged or in use: nothing is touched, and the message says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.booking.lock import held
from tests.fakes.bookings import Demo

pytestmark = pytest.mark.lab


def test_a_wrong_passphrase(demo: Demo) -> None:
    place = demo.timelock.home.booking("demo").passphrase
    with replaced(place, "not the passphrase"):
        refused = demo.timelock("drift", "demo", code=8)
    assert str(place) in refused.problems[0]
    assert "backup" in refused.advice


def test_a_corrupt_state_file(demo: Demo) -> None:
    (state,) = Path(demo.timelock.home.pulumi_backend_url.removeprefix("file://")).rglob("stacks/**/demo.json")
    with replaced(state, state.read_text()[:-200]):
        for command in ("drift", "resume"):
            refused = demo.timelock(command, "demo", code=8)
            assert str(state) in refused.problems[0]
            assert refused.advice


@pytest.mark.parametrize("kept", ["known_hosts", "mesh_indices", "pause_image", "registry_ca"])
def test_a_damaged_file_of_the_booking(demo: Demo, kept: str) -> None:
    place: Path = getattr(demo.timelock.home.booking("demo"), kept)
    with replaced(place, "\udcd6"):
        refused = demo.timelock("drift", "demo", code=8)
    assert str(place) in refused.problems[0]
    assert refused.advice


def test_somebody_elses_operation(demo: Demo) -> None:
    with held(demo.timelock.home.booking("demo").lock, operation="timelock extend demo"):
        for words in (("drift", "demo"), ("resume", "demo"), ("release", "demo", "--yes"), ("book", demo.request)):
            refused = demo.timelock(*words, code=6)
            assert refused.problems[0].startswith("demo: held by `timelock extend demo` (pid ")
        assert demo.timelock.json("status", "demo")["operation"].startswith("`timelock extend demo`")


@contextmanager
def replaced(path: Path, content: str) -> Iterator[None]:
    """The file has another content while the block runs."""
    good = path.read_bytes()
    path.write_text(content, errors="surrogateescape")
    try:
        yield
    finally:
        path.write_bytes(good)
