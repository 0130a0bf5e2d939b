"""Observe, decide, act: one role on one host.

Knows nothing of SSH or pyinfra: it is given something that runs a script and something that hears of steps.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from provision.deploys import begun
from provision.deploys.errors import StepFailed
from provision.deploys.holders import Hold, unless_held
from provision.deploys.item import Change, Cleared, Command, Item, Stays
from provision.deploys.role import Role, Seen
from provision.deploys.script import BUSY_MARK, observation, settled, split

StepState = Literal["start", "changed", "unchanged", "would"]
OnStep = Callable[[str, StepState], None]
_Parts = tuple[tuple[Item, ...], tuple[Hold, ...], tuple[Item, ...]]
_LOOKS = 30
"""How often a host is looked at anew while a command of a dead controller still runs on it."""


class Hands(Protocol):
    """What reconciling needs of a host."""

    def look(self, script: str) -> str:
        """Run a script that only reads, and return what it printed."""

    def act(self, booking: str, step: str, commands: Sequence[Command]) -> None:
        """Run the commands of a step, in order. Raises StepFailed at the first that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a role has to say, and what changed (or would, or differs) as 'label: reason'."""

    outputs: Mapping[str, object]
    changes: tuple[str, ...]


def observe(hands: Hands, roles: Sequence[Role], on_step: Sequence[OnStep]) -> list[Outcome | StepFailed]:
    """Look at several roles of a host in one go; each Outcome lists what applying the role would change."""
    wished = [_made(role) for role in roles]
    seen = iter(_look(hands, [item for items in wished for item in items]))
    found = list[Outcome | StepFailed]()
    for role, items, tell in zip(roles, wished, on_step, strict=True):
        of_role = {item.label: next(seen) for item in items}
        try:
            found.append(_judge(role, items, of_role, tell))
        except StepFailed as failure:
            found.append(failure)
    return found


def apply(hands: Hands, role: Role, on_step: OnStep) -> Outcome:
    """Make the host what the role wants; nothing runs where nothing differs.

    Raises StepFailed when a step fails, or when the host still differs after all steps went well.
    """
    items = _made(role)
    notes = (begun.note(role), *(item.take() for item in items if isinstance(item, Hold)))
    seen = _see(hands, items, before="\n".join(notes))
    done = list[str]()
    for item, changes in _differences(items, seen):
        done.extend(_carry_out(hands, role, item, changes, on_step))
    if done:
        seen = _see(hands, items)
        for item, changes in _differences(items, seen):
            if changes:
                raise StepFailed(item.label, f"did not converge: {changes[0].reason}")
    return Outcome(outputs=role.outputs(seen), changes=tuple(done))


def remove(hands: Hands, role: Role, on_step: OnStep) -> Outcome:
    """Undo the role: the booking's own items, then its marks, then what no other booking holds. Idempotent."""
    own, marks, shared = _parted(role)
    seen = _see(hands, [*own, *marks], before=settled(role.booking))
    done = list[str]()
    for item in (*own, *marks):
        done.extend(_carry_out(hands, role, item, item.removal(seen[item.label]), on_step))
    # Who else holds a group is looked up after our mark is gone: of two bookings that go at once, the later sees none.
    seen = _see(hands, [*marks, *shared]) if shared else {}
    held = {mark.group for mark in marks if seen[mark.label]}
    for item in shared:
        changes = () if item.shared in held else item.removal(seen[item.label])
        guarded = tuple(unless_held(item.shared, each) for each in changes)
        done.extend(_carry_out(hands, role, item, guarded, on_step))
    return Outcome(outputs={}, changes=tuple(done))


def remaining(hands: Hands, roles: Sequence[Role]) -> tuple[Role, ...]:
    """Return those of the roles of which there is something on the host that `remove` would take away."""
    if not roles:
        return ()
    parts = [_parted(role) for role in roles]
    seen = iter(_look(hands, [item for part in parts for items in part for item in items], settled(roles[0].booking)))
    return tuple(role for role, part in zip(roles, parts, strict=True) if _remains(role, part, seen))


def _remains(role: Role, part: _Parts, seen: Iterator[str]) -> bool:
    """Whether anything of a role is there that is the booking's own, or shared and nobody else's any more."""
    own, marks, shared = ([(item, next(seen)) for item in items] for items in part)
    held = {mark.group for (_, text), mark in zip(marks, part[1], strict=True) if set(text.split()) - {role.booking}}
    return any(item.removal(text) for item, text in (*own, *marks)) or any(
        item.removal(text) for item, text in shared if item.shared not in held
    )


def _carry_out(hands: Hands, role: Role, item: Item, changes: Sequence[Change], on_step: OnStep) -> tuple[str, ...]:
    """Do the changes of one item, tell of it, and return them as lines."""
    if changes:
        on_step(item.label, "start")
        hands.act(role.booking, item.label, [command for each in changes for command in each.commands])
    on_step(item.label, "changed" if changes else "unchanged")
    return tuple(f"{item.label}: {each.reason}" for each in changes)


def _parted(role: Role) -> _Parts:
    """Return the items of a role in the order of their removal: its own, its marks, what it shares."""
    items = tuple(item for item in _wished(role) if not isinstance(item, Stays))
    return (
        tuple(item for item in reversed(items) if not item.shared and not isinstance(item, Hold)),
        tuple(item for item in items if isinstance(item, Hold)),
        tuple(item for item in reversed(items) if item.shared),
    )


def _made(role: Role) -> tuple[Item, ...]:
    """Return the items that a host is to have, or to tell of."""
    return tuple(item for item in _wished(role) if not isinstance(item, Cleared))


def _wished(role: Role) -> tuple[Item, ...]:
    """Return the role's items after the marks for the shared groups among them."""
    items = role.items()
    groups = dict.fromkeys(item.shared for item in items if item.shared)
    return (*(Hold(group=group, booking=role.booking) for group in groups), *items)


def _see(hands: Hands, items: Sequence[Item], before: str = "") -> Seen:
    return dict(zip((item.label for item in items), _look(hands, items, before), strict=True))


def _look(hands: Hands, items: Sequence[Item], before: str = "") -> tuple[str, ...]:
    if not items:
        return ()
    token = secrets.token_hex(8)
    script = observation(items, token, before)
    for _ in range(_LOOKS):
        output = hands.look(script)
        if output.strip() != BUSY_MARK:
            break
    else:
        raise StepFailed("observe", "another command of this booking still runs on the host", kind="timeout")
    seen = split(output, token)
    if seen is None or len(seen) != len(items):
        raise StepFailed("observe", "what the host printed is cut short", next_step="try again")
    return seen


def _differences(items: Sequence[Item], seen: Seen) -> list[tuple[Item, tuple[Change, ...]]]:
    """Decide for each item, telling it which earlier ones change."""
    changed, found = set[str](), list[tuple[Item, tuple[Change, ...]]]()
    for item in items:
        changes = item.changes(seen[item.label], frozenset(changed))
        if changes:
            changed.add(item.label)
        found.append((item, changes))
    return found


def _judge(role: Role, items: Sequence[Item], seen: Seen, on_step: OnStep) -> Outcome:
    would = list[str]()
    for item, changes in _differences(items, seen):
        on_step(item.label, "would" if changes else "unchanged")
        would.extend(f"{item.label}: {each.reason}" for each in changes)
    return Outcome(outputs=role.outputs(seen), changes=tuple(would))
