"""The workers as the rest of `provision` sees them: one command line, one way to run things on hosts.

The stack's provider starts the same command by itself (`WORKER_ARGV` is handed to it); this is for what happens
outside a stack: the survey before the claim, the acceptance before ACTIVE, and the last look at a host.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.errors import HostFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stacks.protocol import Connection, Done, Job
    from stacks.worker import WorkerClient

WORKER_ARGV = (sys.executable, "-m", "provision.deploys.worker")
SWEEP_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command on a host printed, and its exit status."""

    stdout: str
    stderr: str
    status: int


Run = Callable[..., Awaitable[Answer]]


@asynccontextmanager
async def runner(connections: Mapping[str, Connection]) -> AsyncIterator[Run]:
    """Start a worker server and yield `run(host, command, stdin, timeout_seconds) -> Answer`.

    `run` raises HostFailed when the host cannot be asked; a command that fails is an Answer like any other.
    """
    from stacks.worker import WorkerClient

    client = await WorkerClient.start(WORKER_ARGV)
    try:

        async def run(host: str, command: str, stdin: str = "", timeout_seconds: int = 60) -> Answer:
            return await _run(client, connections[host], host, command, stdin, timeout_seconds)

        yield run
    finally:
        await asyncio.shield(client.close())


async def sweep(connections: Mapping[str, Connection], booking: str) -> Mapping[str, HostFailed]:
    """Take all that the hosts themselves have noted of `booking` off them; returns those that could not be cleared.

    Needs neither the Plan nor the stack: a host notes what is begun on it.
    """
    from stacks.protocol import Job
    from stacks.worker import WorkerClient

    params = {"booking": booking, "planes": [0]}
    jobs = [
        Job(verb="remove", role="identity", host=host, connection=where, params=params, timeout_seconds=SWEEP_SECONDS)
        for host, where in connections.items()
    ]
    async with await WorkerClient.start(WORKER_ARGV) as client:
        failed = await asyncio.gather(*(_failure(client, job) for job in jobs))
    return {job.host: failure for job, failure in zip(jobs, failed, strict=True) if failure}


async def _failure(client: WorkerClient, job: Job) -> HostFailed | None:
    try:
        await _submit(client, job)
    except HostFailed as failure:
        return failure
    return None


async def _run(
    client: WorkerClient, connection: Connection, host: str, command: str, stdin: str, timeout_seconds: int
) -> Answer:
    from stacks.protocol import Job

    params = {"command": command, "stdin": stdin}
    job = Job(verb="run", host=host, connection=connection, params=params, timeout_seconds=timeout_seconds)
    outputs = (await _submit(client, job)).outputs
    return Answer(
        stdout=str(outputs.get("stdout", "")), stderr=str(outputs.get("stderr", "")), status=int(str(outputs["status"]))
    )


async def _submit(client: WorkerClient, job: Job) -> Done:
    from stacks.errors import WorkerFailed

    try:
        return await client.submit(job)
    except WorkerFailed as error:
        raise HostFailed(
            host=error.host or job.host, step=error.step, cause=error.cause, kind=error.kind, next_step=error.next_step
        ) from error
