"""The package proxy passes what the machine's own sources need, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.lab.proxy import Proxy, Refused, allowed_places, decide

SOURCES = """\
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.example/debian bookworm main
deb https://secure.example/debian-security bookworm-security main
deb http://odd.example:8080/debian bookworm main
"""
ALLOWED = allowed_places(SOURCES)


def head(first: str, *fields: str) -> bytes:
    return "\r\n".join((first, *fields, "", "")).encode()


def test_places_are_read_from_apt_sources() -> None:
    assert set(ALLOWED) == {("deb.example", 80), ("secure.example", 443), ("odd.example", 8080)}


def test_a_package_is_asked_for_at_its_place() -> None:
    passage = decide(head("GET http://deb.example/debian/a.deb?x=1 HTTP/1.1", "Host: evil.example", "Range: bytes=5-",
                          "Proxy-Authorization: secret", "Connection: keep-alive"), ALLOWED)  # fmt: skip
    assert (passage.host, passage.port) == ("deb.example", 80)
    assert passage.head == head(
        "GET /debian/a.deb?x=1 HTTP/1.1", "Host: deb.example", "Range: bytes=5-", "Connection: close"
    )


def test_a_tunnel_goes_to_https_only() -> None:
    assert decide(head("CONNECT secure.example:443 HTTP/1.1"), ALLOWED).head == b""


@pytest.mark.parametrize(
    ("first", "status"),
    [
        ("GET http://elsewhere.example/ HTTP/1.1", 403),
        ("GET http://deb.example:22/ HTTP/1.1", 403),
        ("GET http://169.254.169.254/latest/meta-data HTTP/1.1", 403),
        ("GET http://127.0.0.1/ HTTP/1.1", 403),
        ("GET http://user@elsewhere.example/ HTTP/1.1", 403),
        ("GET http://deb.example@elsewhere.example/ HTTP/1.1", 403),
        ("CONNECT deb.example:80 HTTP/1.1", 403),
        ("CONNECT elsewhere.example:443 HTTP/1.1", 403),
        ("CONNECT secure.example:22 HTTP/1.1", 403),
        ("GET https://secure.example/ HTTP/1.1", 405),
        ("POST http://deb.example/ HTTP/1.1", 405),
        ("GET /relative HTTP/1.1", 403),
        ("GET http://deb.example/ HTTP/2", 405),
        ("GET http://deb.example:port/ HTTP/1.1", 400),
        ("nonsense", 400),
        ("GET http://d\u00e9b.example/ HTTP/1.1", 400),
    ],
)
def test_everything_else_is_refused(first: str, status: int) -> None:
    with pytest.raises(Refused) as refused:
        decide(head(first), ALLOWED)
    assert refused.value.status == status


@given(st.binary(max_size=200))
def test_no_bytes_confuse_it(data: bytes) -> None:
    try:
        passage = decide(data + b"\r\n\r\n", ALLOWED)
    except Refused:
        return
    assert (passage.host, passage.port) in ALLOWED


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + request)
    await writer.drain()
    writer.close()


async def _through(requests: bytes, *, allow: bool = True, handler: Handler = _answer) -> bytes:
    """Send bytes to a proxy before one upstream on this machine; give what comes back."""
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as upstream:
        port = upstream.sockets[0].getsockname()[1]
        allowed = frozenset({("127.0.0.1", port)}) if allow else frozenset[tuple[str, int]]()
        async with await asyncio.start_server(Proxy(allowed).serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(requests.replace(b"PORT", str(port).encode()))
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            await writer.wait_closed()
            return answer


def test_an_answer_comes_back_and_what_was_sent_ahead_is_dropped() -> None:
    request = head("GET http://127.0.0.1:PORT/a HTTP/1.1", "Host: x")
    answer = asyncio.run(_through(request + request))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b"GET /a HTTP/1.1") == 1


def test_a_refusal_says_why() -> None:
    answer = asyncio.run(_through(head("GET http://127.0.0.1:PORT/a HTTP/1.1"), allow=False))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"none of the machine's package sources" in answer


def test_a_head_without_end_is_given_up() -> None:
    assert asyncio.run(_through(b"GET " + b"a" * 100_000)) == b""
