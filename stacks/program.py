"""The Pulumi program of a booking: registers what `stacks.booking.resources` lists, and fills in keys and outputs.

It registers only; nothing is done here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pulumi

from stacks.booking import BookingSpec, Path, Resource, Take, mesh_address, resources
from stacks.roles import BY_NAME


class HostRole(pulumi.CustomResource):
    """One role on one host; `outputs` is what it brought forth there."""

    outputs: pulumi.Output[Mapping[str, Any]]
    drift: pulumi.Output[Sequence[str]]

    def __init__(self, resource: Resource, params: Mapping[str, object], code: str, needs: Sequence[HostRole]) -> None:
        properties = {
            "host": resource.host,
            "role": resource.role,
            "connection": asdict(resource.connection),
            "params": params,
            "code": code,
            "outputs": None,
            "drift": None,
        }
        options = pulumi.ResourceOptions(depends_on=list(needs))
        super().__init__(BY_NAME[resource.role].token, resource.name, properties, options)


def program(spec: BookingSpec, mesh_secret: bytes) -> Callable[[], None]:
    """The inline program of the booking's stack. `mesh_secret` is the master of its preshared keys."""

    def run() -> None:
        made = register(spec, mesh_secret)
        pulumi.export("booking", spec.name)
        pulumi.export("head", mesh_address(next(host for host in spec.hosts if host.name == spec.head)))
        for host in spec.hosts:
            roles = {role: made[f"{host.name}.{role}"].outputs for role in ("identity", "ray")}
            pulumi.export(host.name, {"address": host.address, "mesh_address": mesh_address(host), **roles})

    return run


def register(spec: BookingSpec, mesh_secret: bytes) -> Mapping[str, HostRole]:
    """Register all resources of the spec, by name."""
    made: dict[str, HostRole] = {}
    for resource in resources(spec):
        params = copy.deepcopy(dict(resource.params))
        for take in resource.takes:
            _put(params, take.path, made[take.resource].outputs.apply(_taker(take)))
        for key in resource.keys:
            _put(params, key.path, pulumi.Output.secret(key.derive(mesh_secret)))
        needs = [made[name] for name in resource.needs]
        made[resource.name] = HostRole(resource, params, spec.code_version, needs)
    return made


def _taker(take: Take) -> Callable[[Any], Any]:
    def pick(outputs: Any) -> Any:
        for step in take.output:
            outputs = outputs[step]
        return outputs

    return pick


def _put(params: Any, path: Path, value: object) -> None:
    for step in path[:-1]:
        params = params[step]
    params[path[-1]] = value
