"""`timelock-verify` on a bundle of one GPU and 24 hours: one driver reading a second with two processes in it.

The reference is its signatures alone, checked by the same library in the same minute.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from bench.clock import interleaved
from bench.result import Goal, Row, row
from proofs import archive, bundle, envelope
from proofs.keys import PublicKey
from tests.proofs.world import Host, World, signer

RUNS = 3
HOURS = 24
MEMORY = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def measure() -> Iterator[Row]:
    """Make the bundle, check it, and check its signatures alone, turn by turn."""
    seconds = HOURS * 3600
    made = World(hosts=(Host(until_s=seconds + 45),), window_s=seconds)
    files = made.files()
    with tempfile.TemporaryDirectory() as place:
        packed, trust = Path(place) / "bundle.tar", Path(place) / "trust.json"
        packed.write_bytes(archive.pack(files))
        trust.write_bytes(made.trust_file)
        command = [sys.executable, "-m", "proofs.cli", "--trust", str(trust), str(packed)]
        whole, alone = interleaved(RUNS, lambda: _timed(command), lambda: _signatures(files, made))
        code, memory_bytes = _memory(command)
        size = packed.stat().st_size
    if code != 0:
        raise AssertionError(f"expected the bundle to be PROVEN, found exit code {code}")
    yield row(
        "verify, 1 GPU × 24 h",
        whole,
        reference="its signatures alone",
        reference_samples=alone,
        goal=Goal(on="ratio", at_most=1.25),
    )
    yield row("memory", [memory_bytes / 2**20], unit="MiB", goal=Goal(on="value", at_most=64))
    yield row("bundle", [size / 2**20], unit="MiB", goal=Goal(on="value", at_most=5))


def _timed(command: list[str]) -> float:
    start = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=600, check=True)
    return perf_counter() - start


def _signatures(files: dict[str, bytes], made: World) -> float:
    """Seconds for every signature of the heartbeats and their countersignatures."""
    pairs = [line.split(b" ") for line in bundle.unpack(files[bundle.path(made.hosts[0].name, "beats")], "beats")]
    parsed = [envelope.decode(data, "x") for pair in pairs for data in pair]
    known: dict[str, PublicKey] = {each.public.keyid: each.public for each in (made.hosts[0].agent, signer("witness"))}
    start = perf_counter()
    for each in parsed:
        for keyid, signature in each.signatures.items():
            if not known[keyid].verifies(each.signed, signature):
                raise AssertionError("a signature of the bench's own does not fit")
    return perf_counter() - start


def _memory(command: list[str]) -> tuple[int, int]:
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, *command], capture_output=True, text=True, timeout=600, check=True
    )
    code, memory_bytes = ran.stdout.split()
    return int(code), int(memory_bytes)
