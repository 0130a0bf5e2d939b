"""From a tag to a digest: references of every form, and a registry of our own over real TLS."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.booking import image
from provision.booking.image import Reference, parse, resolve
from provision.errors import InvalidInput, MachineCannot
from provision.lab import ca

DIGEST = "sha256:" + "0a" * 32
OTHER = "sha256:" + "0b" * 32


@dataclass
class FakeRegistry:
    """Answers HEAD on manifests; `answers` maps repository and version to status and digest."""

    address: str
    ca_file: Path
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FakeRegistry]:
    now = datetime.datetime.now(datetime.UTC)
    issuer = ca.authority(tmp_path / "ca", name="test", now=now)
    pair = ca.Pair(certificate=tmp_path / "server.crt", key=tmp_path / "server.key")
    ca.server(issuer, pair, addresses=("127.0.0.1",), now=now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    fake = FakeRegistry(address="", ca_file=issuer.certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(fake))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()


def handler_for(fake: FakeRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            repository, _, version = self.path.removeprefix("/v2/").rpartition("/manifests/")
            fake.accepted.append(self.headers["Accept"])
            status, digest = fake.answers.get(f"{repository}:{version}", (404, ""))
            self.send_response(status)
            if digest:
                self.send_header("Docker-Content-Digest", digest)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return None

    return Handler


def test_tag_becomes_digest(registry: FakeRegistry) -> None:
    registry.answers["timelock/ray:1"] = (200, DIGEST)
    expected = f"{registry.address}/timelock/ray@{DIGEST}"
    assert resolve("timelock/ray:1", registry.address, registry.ca_file) == expected
    assert resolve(f"{registry.address}/timelock/ray:1", registry.address, registry.ca_file) == expected


def test_digest_is_confirmed(registry: FakeRegistry) -> None:
    registry.answers[f"timelock/ray:{DIGEST}"] = (200, DIGEST)
    expected = f"{registry.address}/timelock/ray@{DIGEST}"
    assert resolve(f"timelock/ray@{DIGEST}", registry.address, registry.ca_file) == expected
    assert resolve(f"timelock/ray:1@{DIGEST}", registry.address, registry.ca_file) == expected


def test_all_kinds_of_manifest_are_asked_for(registry: FakeRegistry) -> None:
    """A registry that is not told so answers with the digest of an older form of the same image."""
    registry.answers["a:1"] = (200, DIGEST)
    resolve("a:1", registry.address, registry.ca_file)
    assert registry.accepted == [", ".join(image.MANIFESTS)]


def test_unknown_tag_is_the_users_mistake(registry: FakeRegistry) -> None:
    with pytest.raises(InvalidInput, match=r"found none there") as refusal:
        resolve("timelock/ray:2", registry.address, registry.ca_file)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("answer", [(200, ""), (200, "sha256:short"), (401, ""), (500, ""), (307, DIGEST)])
def test_an_answer_that_is_none(registry: FakeRegistry, answer: tuple[int, str]) -> None:
    registry.answers["a:1"] = answer
    with pytest.raises(MachineCannot, match=f"found {answer[0]}"):
        resolve("a:1", registry.address, registry.ca_file)


def test_another_digest_than_asked_for(registry: FakeRegistry) -> None:
    registry.answers[f"a:{DIGEST}"] = (200, OTHER)
    with pytest.raises(MachineCannot, match="answers with"):
        resolve(f"a@{DIGEST}", registry.address, registry.ca_file)


def test_certificate_of_somebody_else(registry: FakeRegistry, tmp_path: Path) -> None:
    other = ca.authority(tmp_path / "other", name="other", now=datetime.datetime.now(datetime.UTC))
    with pytest.raises(MachineCannot, match="expected a certificate signed by") as refusal:
        resolve("a:1", registry.address, other.certificate)
    assert refusal.value.exit_code == 8
    assert "timelock_registry_ca_file" in refusal.value.next_step


def test_the_inventorys_authority_does_not_speak_for_other_registries(registry: FakeRegistry) -> None:
    """The lab's authority must not vouch for a registry that the inventory does not name."""
    with pytest.raises(MachineCannot, match="authority this machine knows"):
        resolve(f"{registry.address}/a:1", "10.77.0.1:5000", registry.ca_file)


def test_missing_authority_file(registry: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(MachineCannot, match="expected the certificate of the registry's authority"):
        resolve("a:1", registry.address, tmp_path / "none.crt")


def test_nobody_listens(registry: FakeRegistry) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(MachineCannot, match="refused") as refusal:
            resolve("a:1", address, registry.ca_file)
    assert f"curl https://{address}/v2/" in refusal.value.next_step


def test_silence_has_a_limit(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MachineCannot, match="none within"):
        resolve("a:1", f"127.0.0.1:{silent.getsockname()[1]}", registry.ca_file)


def test_no_registry_anywhere() -> None:
    with pytest.raises(InvalidInput, match="the inventory names none"):
        resolve("timelock/ray:1", None, None)


@pytest.mark.parametrize(
    ("text", "registry", "repository", "version"),
    [
        ("ray:1", None, "ray", "1"),
        ("timelock/ray:2.60-py311", None, "timelock/ray", "2.60-py311"),
        ("localhost/ray:1", "localhost", "ray", "1"),
        ("reg.example/a/b/c:1", "reg.example", "a/b/c", "1"),
        ("reg:5000/a:1", "reg:5000", "a", "1"),
        ("[fd00::1]:5000/a:1", "[fd00::1]:5000", "a", "1"),
        (f"reg:5000/a@{DIGEST}", "reg:5000", "a", DIGEST),
        (f"reg:5000/a:1@{DIGEST}", "reg:5000", "a", DIGEST),
    ],
)
def test_references(text: str, registry: str | None, repository: str, version: str) -> None:
    assert parse(text) == Reference(registry=registry, repository=repository, version=version)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a",
        "a:",
        "A:1",
        "a/:1",
        "/a:1",
        "a:1 2",
        "a:-1",
        "a@sha256:00",
        "a@",
        "reg:x/a:1",
        "re g.x/a:1",
        "../a:1",
        "a:1\n",
    ],
)
def test_malformed_references_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        parse(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        wanted = parse(text)
    except InvalidInput:
        return
    assert "\n" not in text
    assert wanted.repository in text
    assert wanted.version in text
