"""A lab's registry: Debian's, real, on loopback, with tiny images."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from provision.booking.image import resolve
from provision.errors import MachineCannot
from provision.lab.layout import Image, Layer, Progress, Recipe, cached
from provision.lab.registry import Registry

TOOLS = ("docker-registry", "skopeo", "umoci", "mmdebstrap")
REPOSITORY = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, TOOLS)), reason=f"needs root and {', '.join(TOOLS)}"
)


def recipe(reference: str, size_bytes: int = 10) -> Recipe:
    def layers(work: Path, progress: Progress) -> Iterator[Layer]:
        (work / "root").mkdir()
        (work / "root" / "content").write_bytes(os.urandom(size_bytes))
        yield Layer(title=reference, root=work / "root", paths=(".",))

    return Recipe(reference=reference, ingredients=(), config=(), layers=layers)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return cached(tmp_path_factory.mktemp("images"), recipe("test/tiny:1"), lambda step: None)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(place=tmp_path / "labs" / "mine", address="127.0.0.1", storage=tmp_path / "store", port=free_port())
    yield made
    made.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def links(registry: Registry) -> list[Path]:
    return sorted((registry.storage / "docker/registry/v2/repositories").glob("**/link"))


def test_an_image_is_served_by_digest(registry: Registry, tiny: Image) -> None:
    registry.start()
    assert registry.push(tiny.layout, tiny.reference) == tiny.digest
    expected = f"{registry.authority}/test/tiny@{tiny.digest}"
    assert resolve("test/tiny:1", registry.authority, registry.ca_file) == expected
    assert resolve(f"test/tiny@{tiny.digest}", registry.authority, registry.ca_file) == expected


def test_start_is_idempotent_and_stop_too(registry: Registry) -> None:
    assert not registry.alive()
    registry.start()
    pid = (registry.place / "registry" / "pid").read_text()
    registry.start()
    assert (registry.place / "registry" / "pid").read_text() == pid
    assert registry.alive()
    registry.stop()
    registry.stop()
    assert not registry.alive()


def test_killed_registry_is_started_again(registry: Registry, tiny: Image) -> None:
    registry.start()
    registry.push(tiny.layout, tiny.reference)
    os.kill(int((registry.place / "registry" / "pid").read_text().split()[0]), 9)
    registry.start()
    assert tiny.digest in resolve("test/tiny:1", registry.authority, registry.ca_file)


def test_hosts_cannot_write(registry: Registry, tiny: Image) -> None:
    """A supplier's host must not be able to give other bookings another image."""
    registry.start()
    registry.push(tiny.layout, tiny.reference)
    for method, path in (
        ("POST", "/v2/test/tiny/blobs/uploads/"),
        ("PUT", "/v2/test/tiny/manifests/1"),
        ("DELETE", f"/v2/test/tiny/manifests/{tiny.digest}"),
    ):
        assert status(registry, method, path) == http.client.METHOD_NOT_ALLOWED
    assert tiny.digest in resolve("test/tiny:1", registry.authority, registry.ca_file)


def test_another_lab_finds_what_one_lab_pushed(registry: Registry, tiny: Image) -> None:
    registry.start()
    registry.push(tiny.layout, tiny.reference)
    before = {path: path.stat().st_mtime_ns for path in links(registry)}
    other = replace(registry, place=registry.place.with_name("other"), port=free_port())
    other.start()
    try:
        assert other.push(tiny.layout, tiny.reference) == tiny.digest
        assert {path: path.stat().st_mtime_ns for path in links(registry)} == before
        with pytest.raises(MachineCannot, match="expected a certificate signed by"):
            resolve("test/tiny:1", other.authority, registry.ca_file)
    finally:
        other.stop()


def test_secrets_stay_private(registry: Registry) -> None:
    registry.start()
    assert (registry.place / "registry" / "server.key").stat().st_mode & 0o077 == 0
    assert (registry.place / "ca" / "private" / "ca.key").stat().st_mode & 0o077 == 0
    pid = (registry.place / "registry" / "pid").read_text().split()[0]
    assert "PRIVATE" not in Path(f"/proc/{pid}/cmdline").read_text()
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{pid}/status").read_text()


def test_port_in_use(registry: Registry) -> None:
    taken = socket.create_server(("127.0.0.1", registry.port))
    with taken, pytest.raises(MachineCannot, match="in use by another process") as refusal:
        registry.start()
    assert f"sport = :{registry.port}" in refusal.value.next_step


def test_network_is_not_up(registry: Registry) -> None:
    """192.0.2.0/24 is nobody's address (RFC 5737)."""
    with pytest.raises(MachineCannot, match=r"expected this machine to have the address 192\.0\.2\.77"):
        replace(registry, address="192.0.2.77").start()


def test_missing_program(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineCannot, match="docker-registry") as refusal:
        registry.start()
    assert refusal.value.next_step == "apt-get install docker-registry"


def test_changed_settings_restart_it(registry: Registry, tmp_path: Path) -> None:
    registry.start()
    pid = (registry.place / "registry" / "pid").read_text()
    replace(registry, storage=tmp_path / "another").start()
    assert (registry.place / "registry" / "pid").read_text() != pid


@pytest.mark.parametrize("part", ["_layers", "_manifests/revisions", "_manifests/tags"])
def test_a_push_that_was_killed_is_mended(registry: Registry, tiny: Image, part: str) -> None:
    """What SIGKILL may leave: links that were opened and not yet written, and the note that the push did not end."""
    registry.start()
    registry.push(tiny.layout, tiny.reference)
    for link in links(registry):
        if part in str(link):
            link.write_text("")
    (registry.storage / "unfinished").write_text("test/tiny")
    assert registry.push(tiny.layout, tiny.reference) == tiny.digest
    assert tiny.digest in resolve("test/tiny:1", registry.authority, registry.ca_file)
    assert all(link.read_text().startswith("sha256:") for link in links(registry))
    assert not (registry.storage / "unfinished").exists()


def test_push_survives_the_death_of_its_command(registry: Registry, tmp_path: Path) -> None:
    """SIGKILL while the writer is at work: nothing of it stays, and the next push brings the image whole."""
    large = cached(tmp_path / "images", recipe("test/large:1", 30_000_000), lambda step: None)
    registry.start()
    program = (
        "import pathlib, sys\n"
        "from provision.lab.registry import Registry\n"
        "place, store, port, layout = sys.argv[1:]\n"
        "made = Registry(place=pathlib.Path(place), address='127.0.0.1', storage=pathlib.Path(store), port=int(port))\n"
        "made.push(pathlib.Path(layout), 'test/large:1')\n"
    )
    words: list[str | Path] = [
        sys.executable,
        "-c",
        program,
        registry.place,
        registry.storage,
        str(registry.port),
        large.layout,
    ]
    pusher = subprocess.Popen(words, cwd=REPOSITORY)
    while not (registry.storage / "unfinished").exists():
        assert pusher.poll() is None
    pusher.kill()
    pusher.wait(timeout=10)
    assert registry.push(large.layout, large.reference) == large.digest
    assert large.digest in resolve("test/large:1", registry.authority, registry.ca_file)


def test_full_disk(registry: Registry, tmp_path: Path) -> None:
    large = cached(tmp_path / "images", recipe("test/large:1", 3_000_000), lambda step: None)
    registry.storage.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", registry.storage], check=True, timeout=10)
    try:
        registry.start()
        with pytest.raises(MachineCannot, match="disk is full"):
            registry.push(large.layout, large.reference)
    finally:
        registry.stop()
        subprocess.run(["umount", registry.storage], check=True, timeout=10)


def test_settings_hold_no_key(registry: Registry) -> None:
    registry.start()
    settings = json.loads((registry.place / "registry" / "serve.yml").read_text())
    assert settings["http"]["tls"]["key"].endswith("server.key")
    assert settings["storage"]["maintenance"]["readonly"]["enabled"] is True


def status(registry: Registry, method: str, path: str) -> int:
    context = ssl.create_default_context(cafile=str(registry.ca_file))
    connection = http.client.HTTPSConnection(registry.address, registry.port, timeout=10, context=context)
    with closing(connection):
        connection.request(method, path)
        return connection.getresponse().status
