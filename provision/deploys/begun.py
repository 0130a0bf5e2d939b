"""What was begun on a host for a booking: noted there before anything of a role is made, and kept until all is gone.

Pulumi's state says the same, as long as it is there. This is for when it is not: a state that was lost or put back to
an earlier one, a host that answers again after its booking is over. A note holds a role's parameters, without secrets.
"""

from __future__ import annotations

import json

from provision.deploys.errors import StepFailed
from provision.deploys.item import quote
from provision.deploys.places import BOOKINGS, STATE, booking_state
from provision.deploys.role import NAMES, Role, parse

VERSION = 1


def note(role: Role) -> str:
    """Return shell text that leaves the note about `role`."""
    home = booking_state(role.booking)
    folder = f"{home}/roles"
    text = json.dumps({"v": VERSION, "role": role.name, "params": role.kept()}, sort_keys=True)
    draft, final = quote(f"{folder}/.{role.name}"), quote(f"{folder}/{role.name}.json")
    return (
        f"(umask 077 && mkdir -p -m 711 {STATE} && mkdir -p -m 700 {BOOKINGS} {quote(home)} {quote(folder)}"
        f" && printf '%s\\n' {quote(text)} > {draft} && mv -fT {draft} {final}) 2>/dev/null"
    )


def reading(booking: str) -> str:
    """Return shell text that prints the booking's notes, one a line, after a line that says so."""
    return f"echo notes; cat {quote(booking_state(booking) + '/roles')}/*.json 2>/dev/null || :"


def read(booking: str, text: str) -> tuple[Role, ...]:
    """Return the roles that notes tell of, last first. Raises StepFailed of kind 'invalid' for one that is damaged."""
    found = dict(_role(booking, line) for line in text.splitlines()[1:] if line.strip())
    return tuple(found[name] for name in reversed(NAMES) if name in found)


def _role(booking: str, line: str) -> tuple[str, Role]:
    try:
        message = json.loads(line)
        name, params = str(message["role"]), dict(message["params"])
    except (ValueError, KeyError, TypeError) as error:
        where = f"{booking_state(booking)}/roles"
        raise StepFailed(
            "notes", f"expected one role a line in {where}, found {line[:80]!r}", kind="invalid", next_step=_BY_HAND
        ) from error
    return name, parse(name, {**params, "booking": booking})


_BY_HAND = "remove by hand what `timelock logs` names for this host, then the damaged note, then try again"
