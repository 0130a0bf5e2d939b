"""The workers as the rest of `provision` sees them: one command line, one way to run things on hosts.

The stack's provider starts the same command by itself (`WORKER_ARGV` is handed to it); this is for what happens
outside a stack: the survey before the claim and the acceptance before ACTIVE.
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

    from stacks.protocol import Connection
    from stacks.worker import WorkerClient

WORKER_ARGV = (sys.executable, "-m", "provision.deploys.worker")


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


async def _run(
    client: WorkerClient, connection: Connection, host: str, command: str, stdin: str, timeout_seconds: int
) -> Answer:
    from stacks.errors import WorkerFailed
    from stacks.protocol import Job

    params = {"command": command, "stdin": stdin}
    job = Job(verb="run", host=host, connection=connection, params=params, timeout_seconds=timeout_seconds)
    try:
        done = await client.submit(job)
    except WorkerFailed as error:
        raise HostFailed(
            host=error.host or host, step=error.step, cause=error.cause, kind=error.kind, next_step=error.next_step
        ) from error
    outputs = done.outputs
    return Answer(
        stdout=str(outputs.get("stdout", "")), stderr=str(outputs.get("stderr", "")), status=int(str(outputs["status"]))
    )
