"""The Pulumi provider `timelock`: one resource is one role on one host, and each operation on it is one job.

Create and update apply, read observes (what differs becomes the output `drift`, and with it the next update), delete
removes. What a job does is the worker's; how gRPC carries all this is `stacks.provider`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pulumi.provider.experimental import provider as sdk
from pulumi.provider.experimental.property_value import PropertyValue

from stacks import codec
from stacks.errors import WorkerFailed
from stacks.hosts import Hosts, Tell
from stacks.protocol import Done, Job
from stacks.roles import BY_NAME, OBSERVE_SECONDS, PACKAGE
from stacks.values import differences, marked, plain, plain_map, secrets

VERSION = "0.1.0"
INPUTS = ("host", "role", "connection", "params", "code")
ERASE_OWED_KINDS = frozenset({"unreachable", "host_key"})
NOT_DONE_KINDS = frozenset({"cancelled", "worker"})

Properties = Mapping[str, PropertyValue]


class Unfinished(Exception):
    """A create that left something on the host: the resource is kept in the state, to be finished or removed."""

    def __init__(self, resource_id: str, properties: Properties, failure: WorkerFailed) -> None:
        super().__init__(failure.message)
        self.resource_id = resource_id
        self.properties = dict(properties)
        self.failure = failure


class TimelockProvider(sdk.Provider):
    """CRUD on the roles of hosts; `tell_of(urn)` gives what hears the steps of one resource."""

    def __init__(self, hosts: Hosts, tell_of: Callable[[str], Tell]) -> None:
        self._hosts = hosts
        self._tell_of = tell_of

    async def get_schema(self, request: sdk.GetSchemaRequest) -> sdk.GetSchemaResponse:
        """A schema without types: programs register resources by token."""
        return sdk.GetSchemaResponse(schema=f'{{"name":"{PACKAGE}","version":"{VERSION}"}}')

    async def diff_config(self, request: sdk.DiffRequest) -> sdk.DiffResponse:
        """The provider has no configuration that could differ."""
        return sdk.DiffResponse(changes=False)

    async def configure(self, request: sdk.ConfigureRequest) -> sdk.ConfigureResponse:
        """Take secrets as secrets, so that they stay so in the state."""
        return sdk.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def diff(self, request: sdk.DiffRequest) -> sdk.DiffResponse:
        """An update is due if an input differs, or the host did when it was last observed. Nothing replaces."""
        olds, news = plain_map(request.old_state), plain_map(request.new_inputs)
        paths = [path for key in INPUTS for path in differences(olds.get(key), news.get(key), key)]
        if olds.get("drift"):
            paths.append("drift")
        detail = {
            path: sdk.PropertyDiff(kind=sdk.PropertyDiffKind.UPDATE, input_diff=path != "drift") for path in paths
        }
        tops = sorted({path.partition(".")[0] for path in paths})
        return sdk.DiffResponse(changes=bool(paths), diffs=tops, detailed_diff=detail)

    async def create(self, request: sdk.CreateRequest) -> sdk.CreateResponse:
        """Apply the role; it finds what is already there and adopts it.

        Raises:
            WorkerFailed: nothing was done on the host.
            Unfinished: something was.
        """
        if request.preview:
            return sdk.CreateResponse(resource_id="", properties=dict(request.properties))
        try:
            done = await self._run("apply", request.urn, request.properties)
        except WorkerFailed as failure:
            if not failure.touched:
                raise
            drift = marked([f"not finished: {failure.step}: {failure.cause}"])
            raise Unfinished(request.name, {**request.properties, "drift": drift}, failure) from failure
        return sdk.CreateResponse(resource_id=request.name, properties=_state(request.properties, done))

    async def update(self, request: sdk.UpdateRequest) -> sdk.UpdateResponse:
        """Apply the role with its new params."""
        if request.preview:
            outputs = {"outputs": request.olds["outputs"]} if "outputs" in request.olds else {}
            return sdk.UpdateResponse(properties={**request.news, **outputs})
        done = await self._run("apply", request.urn, request.news)
        return sdk.UpdateResponse(properties=_state(request.news, done))

    async def read(self, request: sdk.ReadRequest) -> sdk.ReadResponse:
        """Observe the host. One that cannot be observed is drift too, so that the others are still looked at."""
        properties = dict(request.properties)
        try:
            done = await self._run("observe", request.urn, properties)
        except WorkerFailed as failure:
            if failure.kind in NOT_DONE_KINDS:
                raise
            properties["drift"] = marked([f"{failure.kind}: {failure.step}: {failure.cause}"])
        else:
            properties = _observed(properties, done)
        return sdk.ReadResponse(resource_id=request.resource_id, properties=properties, inputs=dict(request.inputs))

    async def delete(self, request: sdk.DeleteRequest) -> None:
        """Remove the role. From a host that is lost it cannot be removed: that is recorded as owed, and is no error."""
        try:
            await self._run("remove", request.urn, request.properties)
        except WorkerFailed as failure:
            if failure.kind not in ERASE_OWED_KINDS:
                raise
            properties = plain_map(request.properties)
            params = properties.get("params")
            booking = str(params.get("booking", "")) if isinstance(params, Mapping) else ""
            self._hosts.quarantine(str(properties["host"]), str(properties["role"]), booking, failure)

    async def cancel(self) -> None:
        """Cancel every job that runs."""
        await self._hosts.cancel()

    async def _run(self, verb: str, urn: str, properties: Properties) -> Done:
        job = _job(verb, properties)
        hidden = set(secrets(PropertyValue(properties)))
        return await self._hosts.run(job, hidden, self._tell_of(urn) if verb != "observe" else None)


def _job(verb: str, properties: Properties) -> Job:
    """The job for a resource's properties (SpecInvalid if they are not those of one of ours)."""
    fields = {key: plain(properties[key]) for key in ("host", "role", "connection", "params")}
    role = BY_NAME[str(fields["role"])]
    limits = {"apply": role.apply_seconds, "remove": role.remove_seconds, "observe": OBSERVE_SECONDS}
    return codec.build(Job, {**fields, "verb": verb, "timeout_seconds": limits[verb]}, "job")


def _state(inputs: Properties, done: Done) -> dict[str, PropertyValue]:
    """The state of a resource that was just applied."""
    return {**inputs, "outputs": marked(done.outputs), "drift": marked([])}


def _observed(properties: Properties, done: Done) -> dict[str, PropertyValue]:
    """The state after an observation; what a role that differs brings forth is known only when it is repaired."""
    changes = [*done.changes, *_renewed(properties, done)]
    outputs = {"outputs": marked(done.outputs)} if done.outputs and not done.changes else {}
    return {**properties, **outputs, "drift": marked(changes)}


def _renewed(properties: Properties, done: Done) -> Iterator[str]:
    """Outputs that others work with and that are not what they were, though the host is as it should be."""
    before = plain(properties["outputs"]) if "outputs" in properties else None
    if not isinstance(before, Mapping):
        yield "not finished when it was last applied"
    elif not done.changes:
        for key in BY_NAME[str(plain(properties["role"]))].taken:
            if key in done.outputs and done.outputs[key] != before.get(key):
                yield f"{key}: another than before"
