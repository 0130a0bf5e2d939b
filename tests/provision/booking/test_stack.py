"""What the engine's events are to a person."""

from __future__ import annotations

import pytest

from provision.booking.progress import HostStep, Phase, Progress
from provision.booking.stack import progress_of
from stacks.outcome import Event


def event(kind: str, text: str, state: str, host: str = "a1") -> Event:
    return Event(kind=kind, host=host, role="mesh", text=text, state=state)


def step(text: str, state: str) -> HostStep:
    return HostStep(host="a1", role="mesh", step=text, state=state)


@pytest.mark.parametrize(
    ("said", "looking", "told"),
    [
        (event("resource", "update", "done"), False, step("update", "done")),
        (event("resource", "update", "done"), True, step("", "differs")),
        (event("resource", "update", "failed"), True, step("update", "failed")),
        (event("resource", "same", "done"), True, step("same", "done")),
        (event("step", "unit x", "changed"), False, step("unit x", "changed")),
        (event("note", "update failed", "error", host=""), False, Phase(name="note", detail="update failed")),
        (event("resource", "create", "done", host=""), False, None),
    ],
)
def test_progress(said: Event, looking: bool, told: Progress | None) -> None:
    assert progress_of(said, looking=looking) == told
