"""Who a process was to the booking: by the control group in which the kernel saw it, never by its name.

Classes follow from the agent's Bind and Group records. Who cannot be placed is UNRESOLVED: treated as foreign, and
never convicted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from proofs.errors import Flaw, Rejected
from proofs.records import Actor, AnyRecord, Bind, Group


class Standing(StrEnum):
    """What an actor is to the booking."""

    BOOKED = "booked"
    AGENT = "agent"
    INFRASTRUCTURE = "infrastructure"
    FOREIGN = "foreign"
    UNRESOLVED = "unresolved"


@dataclass(slots=True)
class Census:
    """The control groups of one boot, as far as the records have told of them."""

    parents: dict[int, int | None] = field(default_factory=dict)
    meanings: dict[int, Standing] = field(default_factory=dict)

    def learn(self, record: AnyRecord, where: str) -> None:
        """Take in a Bind or Group record.

        Raises:
            Rejected: RECORD, when it contradicts an earlier one: a group does not move, and its meaning stays.
        """
        if isinstance(record, Group):
            if self.parents.setdefault(record.id, record.parent) != record.parent:
                raise Rejected(Flaw.RECORD, where, f"control group {record.id} has moved")
        elif isinstance(record, Bind):
            named = {record.booked: Standing.BOOKED, record.agent: Standing.AGENT}
            named |= dict.fromkeys(record.infrastructure, Standing.INFRASTRUCTURE)
            if len(named) != 2 + len(record.infrastructure):
                raise Rejected(Flaw.RECORD, where, "one control group with two meanings")
            for group, meaning in named.items():
                if self.meanings.setdefault(group, meaning) is not meaning:
                    raise Rejected(Flaw.RECORD, where, f"control group {group} has changed its meaning")

    def standing(self, actor: Actor) -> Standing:
        """What the actor is: what the innermost group that means something says."""
        group = actor.cgroup
        for _ in range(len(self.parents) + 1):
            if group is None:
                return Standing.UNRESOLVED
            if group in self.meanings:
                return self.meanings[group]
            if group not in self.parents:
                return Standing.UNRESOLVED
            group = self.parents[group]
            if group is None:
                return Standing.FOREIGN
        return Standing.UNRESOLVED
