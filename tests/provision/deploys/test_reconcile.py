"""Observe, decide, act: with a host that is a set of names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from pydantic import ConfigDict

from provision.deploys import reconcile
from provision.deploys.errors import StepFailed
from provision.deploys.item import Change, Command, Item, change
from provision.deploys.reconcile import OnStep
from provision.deploys.role import Role, Seen


@dataclass
class Things:
    """A host on which things are or are not; understands 'look X', 'make X', 'undo X' and holders' commands."""

    there: set[str] = field(default_factory=set)
    holders: set[str] = field(default_factory=set)
    stubborn: frozenset[str] = frozenset()
    looks: int = 0
    acts: list[str] = field(default_factory=list)

    def look(self, script: str) -> str:
        self.looks += 1
        if "holders/group/demo" in script.split("echo '##")[0]:
            self.holders.add("demo")
        parts = re.findall(r"echo '##(\w+) (\d+)'; \(\n(.*?)\n\) 2>", script, re.DOTALL)
        seen = "".join(f"##{token} {number}\n{self._probe(probe)}\n" for token, number, probe in parts)
        return f"{seen}##{parts[0][0]} end\n"

    def act(self, booking: str, step: str, commands: Sequence[Command]) -> None:
        self.acts.append(step)
        for text in (command.text for command in commands):
            if "fail" in text:
                raise StepFailed(step, "as told")
            if "rm -f /var/lib/timelock-host/holders/group/demo" in text:
                self.holders.discard("demo")
            for verb, name in re.findall(r"(make|undo) (\w+)", text):
                held = "holders" in text and self.holders
                if verb == "make" and name not in self.stubborn:
                    self.there.add(name)
                elif verb == "undo" and not held:
                    self.there.discard(name)

    def _probe(self, probe: str) -> str:
        if "holders" in probe:
            return "\n".join(self.holders)
        return "there" if probe.removeprefix("look ") in self.there else ""


@dataclass(frozen=True)
class Thing:
    label: str
    shared: str = ""
    follows: str = ""
    fails: bool = False

    def probe(self) -> str:
        return f"look {self.label}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        if not seen or self.follows in changed:
            return (change("absent" if not seen else f"{self.follows} changes", f"make {self.label}"),)
        return (change("broken", "fail"),) if self.fails else ()

    def removal(self, seen: str) -> tuple[Change, ...]:
        return (change("no longer wanted", f"undo {self.label}"),) if seen else ()


class Wish(Role):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    things: tuple[Thing, ...]

    def items(self) -> tuple[Item, ...]:
        return self.things

    def outputs(self, seen: Seen) -> dict[str, object]:
        return {"there": sorted(label for label, text in seen.items() if text == "there")}


def wish(*things: Thing) -> Wish:
    return Wish(booking="demo", things=things)


def test_only_what_differs_is_done_and_then_nothing(on_step: OnStep, steps: list[tuple[str, str]]) -> None:
    host = Things(there={"a"})
    role = wish(Thing("a"), Thing("b"), Thing("c", follows="b"))
    outcome = reconcile.apply(host, role, on_step)
    assert outcome.changes == ("b: absent", "c: absent")
    assert outcome.outputs == {"there": ["a", "b", "c"]}
    assert steps == [("a", "unchanged"), ("b", "start"), ("b", "changed"), ("c", "start"), ("c", "changed")]
    again = reconcile.apply(host, role, on_step)
    assert again.changes == ()
    assert (host.acts, host.looks) == (["b", "c"], 3)


def test_an_item_hears_of_earlier_changes(on_step: OnStep) -> None:
    host = Things(there={"c"})
    outcome = reconcile.apply(host, wish(Thing("b"), Thing("c", follows="b")), on_step)
    assert outcome.changes == ("b: absent", "c: b changes")


def test_what_does_not_converge_is_a_failure(on_step: OnStep) -> None:
    with pytest.raises(StepFailed, match="did not converge: absent") as failure:
        reconcile.apply(Things(stubborn=frozenset({"b"})), wish(Thing("a"), Thing("b")), on_step)
    assert failure.value.step == "b"


def test_after_a_failed_step_nothing_more_is_done(on_step: OnStep, steps: list[tuple[str, str]]) -> None:
    host = Things(there={"b"})
    with pytest.raises(StepFailed, match="as told"):
        reconcile.apply(host, wish(Thing("a"), Thing("b", fails=True), Thing("c")), on_step)
    assert host.there == {"a", "b"}
    assert steps[-1] == ("b", "start")


def test_observing_takes_one_look_and_no_act(on_step: OnStep, steps: list[tuple[str, str]]) -> None:
    host = Things(there={"a"})
    roles = [wish(Thing("a"), Thing("b")), wish(Thing("a"), Thing("c"))]
    first, second = reconcile.observe(host, roles, [on_step, on_step])
    assert isinstance(first, reconcile.Outcome)
    assert isinstance(second, reconcile.Outcome)
    assert (first.changes, second.changes) == (("b: absent",), ("c: absent",))
    assert (host.looks, host.acts, host.holders) == (1, [], set())
    assert ("b", "would") in steps


def test_removal_goes_backwards_and_is_idempotent(on_step: OnStep) -> None:
    host, role = Things(there={"a", "b", "c"}), wish(Thing("a"), Thing("b"), Thing("c"))
    assert reconcile.remove(host, role, on_step).changes[0] == "c: no longer wanted"
    assert host.acts == ["c", "b", "a"]
    assert host.there == set()
    assert reconcile.remove(host, role, on_step).changes == ()


def test_the_mark_is_left_before_the_look_and_shared_things_go_with_the_last(on_step: OnStep) -> None:
    host, role = Things(), wish(Thing("a", shared="group"), Thing("b"))
    reconcile.apply(host, role, on_step)
    assert host.holders == {"demo"}
    host.holders.add("other")
    outcome = reconcile.remove(host, role, on_step)
    assert outcome.changes == ("b: no longer wanted", "hold group: no longer wanted")
    assert host.there == {"a"}
    reconcile.apply(host, role, on_step)
    host.holders.discard("other")
    assert "a: no longer wanted" in reconcile.remove(host, role, on_step).changes
    assert (host.there, host.holders) == (set(), set())


def test_a_cut_off_look_is_a_failure(on_step: OnStep) -> None:
    class Cut(Things):
        def look(self, script: str) -> str:
            return super().look(script)[:-5]

    with pytest.raises(StepFailed, match="cut short"):
        reconcile.apply(Cut(), wish(Thing("a")), on_step)
