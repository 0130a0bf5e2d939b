"""The lab's package proxy: lets hosts fetch from the machine's own apt sources, and from nowhere else.

A host asks for anything else and is refused, in words that the log keeps: an attempt to get out is to be seen.
Runs as a process of the lab (`main`); stores nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import urllib.parse
from dataclasses import dataclass
from typing import Any

MAX_HEAD_BYTES = 16_384
MAX_CONNECTIONS = 64
HEAD_TIMEOUT_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 15.0
IDLE_TIMEOUT_SECONDS = 120.0
CHUNK_BYTES = 65_536
PORTS = {"http": 80, "https": 443}
HOP_BY_HOP = ("connection", "proxy-connection", "keep-alive", "proxy-authorization", "te", "upgrade")

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is not passed on, with the status and reason to answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A request that may pass: where to, and what to say there first (nothing for a tunnel)."""

    host: str
    port: int
    head: bytes


def allowed_places(sources: str) -> frozenset[tuple[str, int]]:
    """Read hosts and ports from one-line apt sources."""
    places = set()
    for line in sources.splitlines():
        for word in line.split():
            parts = urllib.parse.urlsplit(word)
            if parts.scheme in PORTS and parts.hostname:
                places.add((parts.hostname.lower(), parts.port or PORTS[parts.scheme]))
    return frozenset(places)


def answer(refused: Refused) -> bytes:
    """Give the whole answer to a request that is refused."""
    lines = (f"HTTP/1.1 {refused.status} Refused", "Content-Type: text/plain", "Connection: close", "", refused.reason)
    return "\r\n".join((*lines, "")).encode()


def decide(head: bytes, allowed: frozenset[tuple[str, int]]) -> Passage:
    """Judge the head of a request; raises Refused with the answer."""
    try:
        first, *fields = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = first.split(" ")
        parts = urllib.parse.urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme, 0)
    except (UnicodeDecodeError, ValueError) as error:
        raise Refused(400, "not a request of HTTP/1") from error
    if (
        not version.startswith("HTTP/1.")
        or method not in ("GET", "HEAD", "CONNECT")
        or parts.scheme not in ("", "http")
    ):
        raise Refused(405, f"{method} is not for this proxy")
    if (host, port) not in allowed or (method == "CONNECT") != (port == PORTS["https"]):
        raise Refused(403, f"{method} {host}:{port} is none of the machine's package sources")
    if method == "CONNECT":
        return Passage(host=host, port=port, head=b"")
    kept = [field for field in fields if field.partition(":")[0].strip().lower() not in (*HOP_BY_HOP, "host")]
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    lines = (f"{method} {path} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", *kept, "Connection: close")
    return Passage(host=host, port=port, head="\r\n".join((*lines, "", "")).encode())


class Proxy:
    """Serves requests, at most MAX_CONNECTIONS at a time."""

    def __init__(self, allowed: frozenset[tuple[str, int]]) -> None:
        self._allowed = allowed
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one request, then close."""
        try:
            async with self._room:
                await self._one(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.info("ended early: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_TIMEOUT_SECONDS)
            passage = decide(head, self._allowed)
            there = await self._connect(passage)
        except Refused as refused:
            log.warning("refused %s: %s", writer.get_extra_info("peername"), refused.reason)
            writer.write(answer(refused))
            await writer.drain()
            return
        upstream_reader, upstream_writer = there
        try:
            upstream_writer.write(passage.head)
            if passage.head:
                # One request a connection: what a client sends ahead is not passed on, and it asks again.
                await _copy(upstream_reader, writer)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._both_ways((reader, upstream_writer), (upstream_reader, writer))
        finally:
            upstream_writer.close()
            with contextlib.suppress(OSError):
                await upstream_writer.wait_closed()

    async def _connect(self, passage: Passage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.wait_for(asyncio.open_connection(passage.host, passage.port), CONNECT_TIMEOUT_SECONDS)
        except (OSError, TimeoutError) as error:
            raise Refused(502, f"{passage.host}:{passage.port} does not answer: {error}") from error

    async def _both_ways(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Copy until the answer has ended; what the host says after that is of no interest."""
        out, back = (asyncio.create_task(_copy(*way)) for way in ways)
        try:
            await back
        finally:
            out.cancel()
            await asyncio.gather(out, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await asyncio.wait_for(reader.read(CHUNK_BYTES), IDLE_TIMEOUT_SECONDS):
        writer.write(chunk)
        await writer.drain()


async def run(address: str, port: int, allowed: frozenset[tuple[str, int]]) -> None:
    """Listen and serve until cancelled."""
    server = await asyncio.start_server(Proxy(allowed).serve, address, port, limit=MAX_HEAD_BYTES)
    async with server:
        await server.serve_forever()


def main(task: dict[str, Any]) -> None:
    """Be the proxy's process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asyncio.run(run(task["address"], task["port"], allowed_places(task["sources"])))
