"""`timelock-verify` as a customer runs it: alone, offline, judged by exit code and words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from proofs import archive, bundle
from proofs.records import Actor, Opened, Scan
from proofs.records import Holding as Held
from tests.proofs.world import STRANGER, world

NO_NETWORK = """
import socket, sys
def refuse(*_, **__): raise AssertionError("a socket was asked for")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from proofs.cli import script
script()
"""
OPENED = (
    lambda at: Opened(at_ns=at, gpu="GPU-1", actor=STRANGER, stopped=False),
    lambda at: Scan(at_ns=at, begun_ns=at, holding=(Held(gpu="GPU-1", actor=STRANGER),)),
)


@cache
def honest() -> Mapping[str, bytes]:
    return world().files()


def verify(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it where a socket is an error, with nothing of the environment."""
    command = [sys.executable, "-c", NO_NETWORK, *map(str, words)]
    environment = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    (tmp_path / "trust.json").write_bytes(world().trust_file)
    return tmp_path / "trust.json"


def packed(place: Path, files: Mapping[str, bytes]) -> Path:
    (place / "bundle.tar").write_bytes(archive.pack(files))
    return place / "bundle.tar"


def test_proven(tmp_path: Path, trust: Path) -> None:
    ran = verify("--trust", trust, packed(tmp_path, honest()))
    assert (ran.returncode, ran.stderr) == (0, "")
    first, sentence, gpu, level, witnessing = ran.stdout.splitlines()
    assert first.startswith("PROVEN  booking demo  2027-01-15T08:00:00Z to 2027-01-15T08:10:00Z")
    assert "coverage 100.0000 %, longest gap 0.000 s" in sentence
    assert "could have falsified these reports" in sentence
    assert gpu.strip() == "GPU-1  coverage 100.0000 %  longest gap 0.000 s"
    assert (level.strip()[:8], witnessing.strip()[:3]) == ("level L0", "W0:")


def test_a_directory_is_a_bundle_too(tmp_path: Path, trust: Path) -> None:
    for name, data in honest().items():
        (tmp_path / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / name).write_bytes(data)
    assert verify("--trust", trust, tmp_path / "b").returncode == 0
    (tmp_path / "b" / "hosts" / "link").symlink_to("lab-a1")
    ran = verify("--trust", trust, tmp_path / "b")
    assert (ran.returncode, "neither a file nor a directory" in ran.stderr) == (7, True)


def test_violated_names_who_and_when(tmp_path: Path, trust: Path) -> None:
    ran = verify("--trust", trust, packed(tmp_path, world(extra={100: OPENED}).files()))
    assert ran.returncode == 1
    assert "OPEN  lab-a1 GPU-1 at 2027-01-15T08:01:" in ran.stdout
    assert "process 6666" in ran.stdout
    assert "seen by gate, procfs" in ran.stdout


def test_unproven(tmp_path: Path, trust: Path) -> None:
    ran = verify("--trust", trust, packed(tmp_path, world(closes=False, until_s=690).files()))
    assert ran.returncode == 3
    assert "NOT_CLOSED" in ran.stdout


def test_rejected_comes_before_any_verdict(tmp_path: Path, trust: Path) -> None:
    forged = {**world(extra={100: OPENED}).files(), bundle.KEYS: honest()[bundle.KEYS][:-1]}
    ran = verify("--trust", trust, packed(tmp_path, forged))
    assert (ran.returncode, ran.stdout) == (7, "")
    assert ran.stderr.startswith("REJECTED: keys.json: expected canonical JSON")
    assert "[ENCODING]" in ran.stderr


@pytest.mark.parametrize("words", [(), ("--trust", "nowhere.json"), ("--trust", "rubbish.json")])
def test_without_a_root_nothing_is_judged(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "rubbish.json").write_text("{}")
    named = [word if word.startswith("--") else tmp_path / word for word in words]
    ran = verify(*named, packed(tmp_path, honest()))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: ")


def test_json(tmp_path: Path, trust: Path) -> None:
    told = json.loads(verify("--json", "--trust", trust, packed(tmp_path, world(extra={100: OPENED}).files())).stdout)
    assert (told["v"], told["outcome"], told["level"], told["witnessing"]) == (1, "VIOLATED", "L0", "W0")
    assert told["findings"][0]["reason"] == "OPEN"
    ran = verify("--json", "--trust", trust, packed(tmp_path, {**honest(), "more": b""}))
    assert (ran.returncode, json.loads(ran.stdout)["flaw"]) == (7, "FILES")


def test_what_evidence_calls_things_cannot_speak_to_the_terminal(tmp_path: Path, trust: Path) -> None:
    gpu = "GPU-\x1b[2J\u202e"
    scan = (lambda at: Opened(at_ns=at, gpu=gpu, actor=Actor(pid=1, start=1), stopped=False),)
    ran = verify("--trust", trust, packed(tmp_path, world(gpus=(gpu,), extra={100: scan}).files()))
    assert ran.returncode == 3
    assert "\x1b" not in ran.stdout
    assert "\u202e" not in ran.stdout


def test_only_cryptography_and_msgspec_are_needed() -> None:
    names = "import sys, proofs.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", names], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert not {"pulumi", "pyinfra", "ansible", "ray", "click", "pydantic", "provision", "stacks"} & set(loaded.split())
