from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stacks.errors import WorkerFailed
from stacks.outcome import Change, Drift, Failure, Outcome, mark, unmark

URN = "urn:pulumi:demo::timelock::timelock:host:Mesh::lab-a1.mesh"


@given(st.text(), st.text(), st.text())
def test_a_marked_failure_is_read_back(step: str, cause: str, next_step: str) -> None:
    failure = WorkerFailed(kind="step", host="lab-a1", step=step, cause=cause, next_step=next_step)
    message = f"1 error occurred:\n\t* {mark(failure)}\n\n"
    assert unmark(URN, message) == Failure(
        resource="lab-a1.mesh", host="lab-a1", role="mesh", kind="step", step=step, cause=cause, next_step=next_step
    )


def test_a_failure_that_nobody_marked_is_the_engines() -> None:
    assert unmark(URN, " the provider is gone ").kind == "engine"
    assert unmark("urn:pulumi:demo::timelock::pulumi:pulumi:Stack::timelock-demo", "odd").host == ""


def test_changed_counts_resources_or_drift() -> None:
    change = Change(resource="a.ray", host="a", role="ray", operation="update")
    drift = Drift(resource="a.ray", host="a", role="ray", changes=("x",))
    assert (Outcome(changes=(change,)).changed, Outcome(drift=(drift, drift)).changed, Outcome().changed) == (1, 2, 0)
