"""Taking roles off a host so that nothing of the booking stays, whatever whoever asks has forgotten of it."""

from __future__ import annotations

from provision.deploys import begun, reconcile
from provision.deploys.reconcile import Hands, OnStep, Outcome
from provision.deploys.role import NAMES, Role


def remove(hands: Hands, role: Role, on_step: OnStep) -> Outcome:
    """Undo the role. The identity is what all others stand on: with it goes what is left of any of them.

    Raises StepFailed: a step failed; what was removed before stays removed.
    """
    left = _left(hands, role) if role.name == NAMES[0] else ()
    done = [change for each in (*left, role) for change in reconcile.remove(hands, each, on_step).changes]
    return Outcome(outputs={}, changes=tuple(done))


def _left(hands: Hands, identity: Role) -> tuple[Role, ...]:
    """Return the other roles that were begun here and of which there is still something, last first."""
    noted = begun.read(identity.booking, hands.look(begun.reading(identity.booking)))
    return reconcile.remaining(hands, [role for role in noted if role.name != identity.name])
