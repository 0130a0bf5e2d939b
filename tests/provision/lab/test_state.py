"""What a lab remembers: whole or not at all."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import MachineCannot
from provision.lab.state import LabState, read_state, write_state

EMPTY = LabState(number=3, created_ns=1_700_000_000_000_000_000)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    state = EMPTY.with_hosts("lab", count=3, gpus=2, image=Path("/cache/root"))
    write_state(tmp_path / "state.json", state)
    assert read_state(tmp_path / "state.json") == state
    assert [host.name for host in state.hosts] == ["lab-a1", "lab-a2", "lab-a3"]


def test_no_file_is_no_lab(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2}', '{"version": 1, "number": 1, "created_ns": 1, "hosts": [{"n": 1}]}']
)
def test_a_damaged_file_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(MachineCannot, match="found it damaged") as error:
        read_state(tmp_path / "state.json")
    assert "timelock lab down" in error.value.next_step


@given(counts=st.lists(st.integers(min_value=1, max_value=8), min_size=1, max_size=5))
def test_hosts_are_added_and_never_changed(counts: list[int]) -> None:
    state = EMPTY
    for gpus, count in enumerate(counts):
        before, state = state, state.with_hosts("lab", count=count, gpus=gpus, image=Path(f"/{gpus}"))
        assert state.hosts[: len(before.hosts)] == before.hosts
        assert [host.index for host in state.hosts] == list(range(1, max(len(before.hosts), count) + 1))
