"""A whole booking on lab hosts, role by role as its stack would, without a stack."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path

import yaml

from provision.booking.acceptance import Trial, examine
from provision.booking.image import resolve
from provision.booking.trial import Acceptance
from provision.booking.workers import Answer
from provision.lab.lab import Lab
from stacks.booking import BookingSpec, GpuSpec, HostSpec, Registry, Resource, resources
from stacks.worker import Done, Job, WorkerClient, WorkerFailed
from tests.provision.deploys.hosts import Hosts

GIGABYTE = 10**9
SIZE = 3


class Cluster:
    """Applies, observes and removes the roles of one booking; keeps what they put out."""

    def __init__(self, lab: Lab, hosts: Hosts, client: WorkerClient, booking: str = "one") -> None:
        inventory = yaml.safe_load(lab.status().inventory.read_text())["all"]
        address, ca_file = inventory["vars"]["timelock_registry"], inventory["vars"]["timelock_registry_ca_file"]
        told = inventory["children"]["lab"]["hosts"]
        self._client = client
        self._outputs: dict[str, Mapping[str, object]] = {}
        self.spec = BookingSpec(
            name=booking,
            slot=0,
            head=hosts.names[0],
            image=resolve("timelock/ray:2.60-py311", address, Path(ca_file)),
            pause_image=resolve("timelock/pause:1", address, Path(ca_file)),
            registry=Registry(address=address, ca_pem=Path(ca_file).read_text()),
            hosts=tuple(
                HostSpec(
                    name=name,
                    connection=hosts.connection(name),
                    address=hosts.connection(name).address,
                    gpus=tuple(
                        GpuSpec(uuid=gpu["uuid"], index=gpu["index"], device=gpu["device"])
                        for gpu in told[name]["timelock_gpus"]
                    ),
                    cpus=2,
                    memory_bytes=4 * GIGABYTE,
                    mesh_index=place + 1,
                    management=tuple(told[name]["timelock_management"]),
                )
                for place, name in enumerate(hosts.names[:SIZE])
            ),
        )
        self._resources = resources(self.spec)

    @property
    def hosts(self) -> list[str]:
        return [host.name for host in self.spec.hosts]

    async def apply(self, roles: Iterable[str] = ()) -> list[str]:
        """Apply all roles (or some) in their order, hosts side by side; returns what changed, as 'host: change'."""
        ready = {resource.name: asyncio.Event() for resource in self._chosen(roles)}

        async def one(resource: Resource) -> list[str]:
            for name in resource.after:
                if name in ready:
                    await ready[name].wait()
            done = await self._do("apply", resource)
            self._outputs[resource.name] = done.outputs
            ready[resource.name].set()
            return [f"{resource.host}: {change}" for change in done.changes]

        return [change for changes in await self._all(map(one, self._chosen(roles))) for change in changes]

    async def drift(self, roles: Iterable[str] = ()) -> list[str]:
        async def one(resource: Resource) -> list[str]:
            done = await self._do("observe", resource)
            return [f"{resource.host}: {change}" for change in done.changes]

        return [change for changes in await self._all(map(one, self._chosen(roles))) for change in changes]

    async def remove(self) -> None:
        async def one(host: str) -> None:
            for resource in reversed([resource for resource in self._resources if resource.host == host]):
                await self._do("remove", resource)

        await asyncio.gather(*map(one, self.hosts))

    async def examine(self) -> Acceptance:
        return await examine(Trial.of(self.spec), self.run)

    async def run(self, host: str, command: str, stdin: str = "", timeout_seconds: int = 60) -> Answer:
        connection = next(member.connection for member in self.spec.hosts if member.name == host)
        params = {"command": command, "stdin": stdin}
        job = Job(verb="run", host=host, connection=connection, params=params, timeout_seconds=timeout_seconds)
        outputs = (await self._client.submit(job)).outputs
        status = int(str(outputs["status"]))
        return Answer(stdout=str(outputs["stdout"]), stderr=str(outputs["stderr"]), status=status)

    async def docker(self, host: str, command: str) -> str:
        answer = await self.run(host, f"docker -H unix:///run/timelock/{self.spec.name}.sock {command}")
        return answer.stdout.strip()

    async def until(self, host: str, command: str, limit_seconds: int = 60) -> None:
        """Wait on the host until `command` succeeds."""
        text = f"timeout {limit_seconds} sh -c 'until {command}; do sleep 0.2; done'"
        answer = await self.run(host, text, timeout_seconds=limit_seconds + 10)
        assert answer.status == 0, f"{host}: expected within {limit_seconds} s: {command}"

    def _chosen(self, roles: Iterable[str]) -> list[Resource]:
        return [resource for resource in self._resources if not roles or resource.role in roles]

    async def _all(self, work: Iterable[Coroutine[object, object, list[str]]]) -> list[list[str]]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
        return [task.result() for task in tasks]

    async def _do(self, verb: str, resource: Resource) -> Done:
        params = self._filled(resource) if verb != "remove" else self._filled(resource, missing=True)
        job = Job(
            verb=verb,
            host=resource.host,
            connection=resource.connection,
            role=resource.role,
            params=params,
            timeout_seconds=240,
        )
        try:
            return await self._client.submit(job)
        except WorkerFailed as failure:
            raise AssertionError(f"{verb} {resource.name}: {failure.step}: {failure.cause}") from failure

    def _filled(self, resource: Resource, *, missing: bool = False) -> dict[str, object]:
        """Return the params with outputs and keys in their places; `missing` ones are made up."""
        made_up = {"public_key": f"{'A' * 43}=", "head_session": None}
        params = copy(dict(resource.params))
        for take in resource.takes:
            value: object = self._outputs.get(take.resource)
            for step in take.output if value is not None else ():
                value = value[step]  # type: ignore[index]
            put(params, take.path, made_up[str(take.path[-1])] if value is None and missing else value)
        for key in resource.keys:
            put(params, key.path, key.derive(b"a secret of this test"))
        return params


def copy(value: object) -> dict[str, object]:
    """A deep copy in plain lists and dicts."""

    def plain(part: object) -> object:
        if isinstance(part, Mapping):
            return {str(key): plain(inner) for key, inner in part.items()}
        return [plain(inner) for inner in part] if isinstance(part, list | tuple) else part

    return {str(key): plain(part) for key, part in value.items()} if isinstance(value, Mapping) else {}


def put(target: object, path: tuple[str | int, ...], value: object) -> None:
    for step in path[:-1]:
        target = target[step]  # type: ignore[index]
    target[path[-1]] = value  # type: ignore[index]
