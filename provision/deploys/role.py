"""What a role is: parameters parsed at the door, the items they ask for, and what can be told afterwards."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Annotated, Protocol, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from provision.deploys.errors import StepFailed
from provision.deploys.item import Item

NAMES = ("identity", "baseline", "engine", "firewall", "mesh", "image", "ray")
"""All roles in the order in which a host goes through them. Each is the module of that name and has a class ROLE."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Seen = Mapping[str, str]


class Role(BaseModel):
    """Base of all roles: a frozen, strict set of parameters. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    booking: Name

    @property
    def name(self) -> str:
        """The role's name: that of its module."""
        return type(self).__module__.rpartition(".")[2]

    def kept(self) -> dict[str, object]:
        """Return parameters as a host may keep them: enough to undo the role, and no secret."""
        return self.model_dump(mode="json", exclude={"booking"})

    def items(self) -> tuple[Item, ...]:
        """Return what the host should have, in the order in which it is made."""
        raise NotImplementedError

    def outputs(self, seen: Seen) -> dict[str, object]:
        """Return what others need to know, from what the probes printed (label → text)."""
        return {}


class _Module(Protocol):
    ROLE: type[Role]


def parse(name: str, params: Mapping[str, object]) -> Role:
    """Return the role `name` with `params`. Raises StepFailed of kind 'invalid' that lists every problem."""
    if name not in NAMES:
        raise StepFailed("", f"expected a role of {', '.join(NAMES)}, found {name!r}", kind="invalid")
    module = cast(_Module, importlib.import_module(f"provision.deploys.{name}"))
    try:
        # Through JSON, since only there a strict model takes a list for a tuple.
        return module.ROLE.model_validate_json(json.dumps(params))
    except ValidationError as problems:
        lines = [f"{name}.{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems.errors(include_input=False)]
        raise StepFailed("", "; ".join(lines), kind="invalid", next_step="report it: a fault of Timelock") from None
