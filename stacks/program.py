"""The Pulumi program of a booking: registers what `stacks.booking.resources` lists, and fills in keys and outputs.

It registers only; nothing is done here. A resource is registered once what it depends on has succeeded or failed, and
names its dependencies by URN: so the engine skips what depends on a failure, and goes on with the other hosts.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pulumi
from pulumi.resource import DependencyResource
from pulumi.runtime.stack import ResourceRegistrationFailed

from stacks.booking import BookingSpec, mesh_address, resources
from stacks.resource import Path, Resource, Take
from stacks.roles import BY_NAME, resource_name

EXPORTED_ROLES = ("identity", "ray")


class HostRole(pulumi.CustomResource):
    """One role on one host; `outputs` is what it brought forth there."""

    outputs: pulumi.Output[Mapping[str, Any]]
    drift: pulumi.Output[Sequence[str]]

    def __init__(self, resource: Resource, params: Mapping[str, object], code: str) -> None:
        properties = {
            "host": resource.host,
            "role": resource.role,
            "connection": asdict(resource.connection),
            "params": params,
            "code": code,
            "outputs": None,
            "drift": None,
        }
        options = pulumi.ResourceOptions(depends_on=[DependencyResource(urn_of(name)) for name in resource.after])
        super().__init__(BY_NAME[resource.role].token, resource.name, properties, options)


class Registrar:
    """Registers the resources of one booking, each after those it depends on."""

    def __init__(self, spec: BookingSpec, mesh_secret: bytes) -> None:
        self._spec = spec
        self._mesh_secret = mesh_secret
        self._tasks: dict[str, asyncio.Task[HostRole | None]] = {}

    async def register(self) -> Mapping[str, HostRole]:
        """Register all; those that succeeded are returned by name."""
        for resource in resources(self._spec):
            self._tasks[resource.name] = asyncio.create_task(self._register(resource))
        await asyncio.gather(*self._tasks.values())
        return {name: made for name, task in self._tasks.items() if (made := task.result()) is not None}

    async def _register(self, resource: Resource) -> HostRole | None:
        params = copy.deepcopy(dict(resource.params))
        made = {name: await self._tasks[name] for name in resource.after}
        for take in resource.takes:
            source = made[take.resource]
            _put(params, take.path, "" if source is None else source.outputs.apply(_taker(take)))
        for key in resource.keys:
            _put(params, key.path, pulumi.Output.secret(key.derive(self._mesh_secret)))
        registered = HostRole(resource, params, self._spec.code_version)
        try:
            await registered.urn.future()
        except ResourceRegistrationFailed:
            return None
        return registered


def program(spec: BookingSpec, mesh_secret: bytes) -> Callable[[], Awaitable[None]]:
    """The inline program of the booking's stack. `mesh_secret` is the master of its preshared keys."""

    async def run() -> None:
        made = await Registrar(spec, mesh_secret).register()
        pulumi.export("booking", spec.name)
        pulumi.export("head", mesh_address(next(host for host in spec.hosts if host.name == spec.head)))
        for host in spec.hosts:
            names = {role: resource_name(host.name, role) for role in EXPORTED_ROLES}
            outputs = {role: made[name].outputs for role, name in names.items() if name in made}
            pulumi.export(host.name, {"address": host.address, "mesh_address": mesh_address(host), **outputs})

    return run


def urn_of(name: str) -> str:
    """The URN of the resource with this name, in the stack that runs."""
    token = BY_NAME[name.rpartition(".")[2]].token
    return f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{token}::{name}"


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
