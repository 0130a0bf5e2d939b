"""`pulumi-resource-timelock`: the process in which the provider lives, and how gRPC carries its failures.

It differs from the SDK's own server in three things: a create that failed half-way is told to the engine as such (so
that the state keeps it), failures carry no traceback, and the process ends when the CLI that started it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from stacks.crud import VERSION, TimelockProvider, Unfinished
from stacks.errors import SpecInvalid, StackError, WorkerFailed
from stacks.hosts import Hosts, Tell
from stacks.journal import Journal
from stacks.outcome import mark

WORKER_VARIABLE = "TIMELOCK_WORKER"
JOURNAL_VARIABLE = "TIMELOCK_JOURNAL"
DETAILS_KEY = "grpc-status-details-bin"
TELL_SECONDS = 5.0
MESSAGES_LIMIT = 10_000

T = TypeVar("T")
Context = Any  # grpc.aio.ServicerContext: grpc ships no types


class Servicer(ProviderServicer):
    """The SDK's servicer, with failures that the engine and `stacks.watch` understand."""

    async def Create(self, request: Any, context: Context) -> Any:  # noqa: D102
        return await _guard(super().Create(request, context), context)  # type: ignore[no-untyped-call]

    async def Update(self, request: Any, context: Context) -> Any:  # noqa: D102
        return await _guard(super().Update(request, context), context)  # type: ignore[no-untyped-call]

    async def Read(self, request: Any, context: Context) -> Any:  # noqa: D102
        return await _guard(super().Read(request, context), context)  # type: ignore[no-untyped-call]

    async def Delete(self, request: Any, context: Context) -> Any:  # noqa: D102
        return await _guard(super().Delete(request, context), context)  # type: ignore[no-untyped-call]


class Teller:
    """Sends lines to the engine's log, in order, without holding up who tells."""

    def __init__(self, engine_address: str) -> None:
        self._stub = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(engine_address))
        self._messages: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MESSAGES_LIMIT)
        self._sender = asyncio.create_task(self._send())

    def of(self, urn: str) -> Tell:
        """What hears the steps of the resource with this URN."""

        def tell(state: str, step: str) -> None:
            with contextlib.suppress(asyncio.QueueFull):
                self._messages.put_nowait((urn, f"{state} {step}"))

        return tell

    async def close(self) -> None:
        """Send what is left, within a limit."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._messages.join(), TELL_SECONDS)
        self._sender.cancel()

    async def _send(self) -> None:
        while True:
            urn, message = await self._messages.get()
            request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message, urn=urn, ephemeral=True)
            with contextlib.suppress(grpc.RpcError):
                await self._stub.Log(request, timeout=TELL_SECONDS)
            self._messages.task_done()


def main() -> None:
    """Serve the engine whose address is the first argument, until it ends.

    Raises:
        SpecInvalid: there is none.
    """
    if len(sys.argv) < 2:
        raise SpecInvalid("expected a Pulumi engine's address, found none: Pulumi starts this, not people")
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    asyncio.run(serve(sys.argv[1], os.environ))


async def serve(engine_address: str, environ: Mapping[str, str]) -> None:
    """Serve on a free port, which is printed; return when the parent process ends, or on SIGINT or SIGTERM.

    Raises:
        SpecInvalid: TIMELOCK_WORKER is no command.
    """
    journal = environ.get(JOURNAL_VARIABLE)
    hosts = Hosts(worker_argv(environ), Journal(Path(journal) if journal else None))
    teller = Teller(engine_address)
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    servicer = Servicer([], VERSION, TimelockProvider(hosts, teller.of), engine_address)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await _until_told_or_orphaned()
    await hosts.cancel()
    await server.stop(grace=1)
    await hosts.close()
    await teller.close()


def worker_argv(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The command of the worker server, from TIMELOCK_WORKER.

    Raises:
        SpecInvalid: it is not a JSON list of strings.
    """
    text = environ.get(WORKER_VARIABLE, "")
    with contextlib.suppress(ValueError):
        argv = json.loads(text)
        if isinstance(argv, list) and argv and all(isinstance(word, str) for word in argv):
            return tuple(argv)
    raise SpecInvalid(
        f"{WORKER_VARIABLE}: expected a JSON list of strings, the command of the worker, found {text!r}",
        next_step="run the stack with `timelock`, which sets it",
    )


async def _until_told_or_orphaned() -> None:
    """A CLI that was killed shows twice: our parent is gone, and our stdin ends, even if it died before we looked."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    parent = os.pidfd_open(os.getppid())
    watched = [parent, *([0] if stat.S_ISFIFO(os.fstat(0).st_mode) else [])]
    try:
        for descriptor in watched:
            loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        for descriptor in watched:
            loop.remove_reader(descriptor)
        os.close(parent)


async def _guard(call: Awaitable[T], context: Context) -> T:
    try:
        return await call
    except Unfinished as unfinished:
        await _abort(context, mark(unfinished.failure), _details(unfinished))
    except WorkerFailed as failure:
        await _abort(context, mark(failure))
    except StackError as error:
        await _abort(context, error.message)


async def _abort(context: Context, message: str, details: bytes | None = None) -> NoReturn:
    metadata = ((DETAILS_KEY, details),) if details is not None else ()
    await context.abort(grpc.StatusCode.UNKNOWN, message, metadata)
    raise AssertionError("abort returns")


def _details(unfinished: Unfinished) -> bytes:
    """What tells the engine that a resource exists but is not whole (ErrorResourceInitFailed)."""
    reason = mark(unfinished.failure)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason)
    status.details.add().Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=unfinished.resource_id,
            properties=PropertyValue.marshal_map(unfinished.properties),
            reasons=[reason],
        )
    )
    return bytes(status.SerializeToString())
