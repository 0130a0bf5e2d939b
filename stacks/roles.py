"""The roles of a host, in the order in which they are brought up: a table, read by the program and by the provider.

What a role does stands in the worker (`provision.deploys`), not here.
"""

from __future__ import annotations

from dataclasses import dataclass

PACKAGE = "timelock"
OBSERVE_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One thing that a host is made to be; the limits are for one apply and one remove, in seconds.

    `taken` names the outputs that other resources work with: another value of one of these is drift.
    """

    name: str
    apply_seconds: int
    remove_seconds: int
    taken: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        """The Pulumi type of the role's resources."""
        return f"{PACKAGE}:host:{self.name.capitalize()}"


ROLES = (
    Role(name="identity", apply_seconds=180, remove_seconds=120, taken=("public_keys",)),
    Role(name="baseline", apply_seconds=1200, remove_seconds=600),
    Role(name="engine", apply_seconds=300, remove_seconds=600),
    Role(name="firewall", apply_seconds=120, remove_seconds=120),
    Role(name="mesh", apply_seconds=900, remove_seconds=120),
    Role(name="image", apply_seconds=1800, remove_seconds=300),
    Role(name="ray", apply_seconds=600, remove_seconds=120, taken=("session",)),
)
BY_NAME = {role.name: role for role in ROLES}


def resource_name(host: str, role: str) -> str:
    """The name of a host's resource for a role, which is its Pulumi id too."""
    return f"{host}.{role}"


def of_urn(urn: str) -> tuple[str, str]:
    """The host and the role of the resource with this URN; two empty strings for any other resource."""
    kind, _, name = urn.rpartition("::")
    host, _, role = name.rpartition(".")
    return (host, role) if f"::{PACKAGE}:host:" in kind and role in BY_NAME else ("", "")
