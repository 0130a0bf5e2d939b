"""Puts Python packages into a file tree: exactly the locked wheels, lean, compiled.

The tree's Python is Debian's, whatever Python runs this; wheels come through this machine's pip and its settings.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from provision.lab.rootfs import BUILD_TIMEOUT_SECONDS, remove
from provision.lab.tool import CONTAINED, run

PYTHON = "3.11"
SITE = f"usr/local/lib/python{PYTHON}/dist-packages"

# Ray's Java bindings; its reinforcement learning, whose own dependencies are not here; what only builders read.
LEFTOVERS = (
    *("bin", "ray/jars", "ray/rllib", "ray/setup-dev.py"),
    *(f"**/{name}" for name in ("*.map", "*.pyi", "*.pxd", "*.a", "*.h", "sboms", "tests")),
)
# Bytecode is never checked against its source: the tree will be read-only, and its times are rewritten.
COMPILE = "-m compileall -q -f -j 0 --invalidation-mode unchecked-hash"

# With the lock this decides what is added to a tree.
RECIPE = (PYTHON, SITE, *LEFTOVERS, COMPILE)


def install(root: Path, lock: Path) -> None:
    """Install the wheels of a hash-locked requirements file, scripts included; raises MachineCannot."""
    site = root / SITE
    pip = (sys.executable, "-m", "pip", "install", *_pip_options(), f"--target={site}", f"--requirement={lock}")
    run(pip, timeout_seconds=BUILD_TIMEOUT_SECONDS)
    scripts = root / "usr/local/bin"
    scripts.mkdir(parents=True, exist_ok=True)
    for script in sorted((site / "bin").iterdir()):
        (scripts / script.name).write_bytes(with_python(script.read_bytes()))
        (scripts / script.name).chmod(0o755)
    remove(site, LEFTOVERS)


def compile_all(root: Path, *folders: str) -> None:
    """Compile what lies in the tree's `folders` with the tree's own Python."""
    (root / "dev/shm").mkdir(parents=True, exist_ok=True)
    script = f'mount -t tmpfs tmpfs dev/shm && exec chroot . /usr/bin/python3 {COMPILE} "$@"'
    run(
        [*CONTAINED, "sh", "-c", script, "sh", *folders],
        cwd=root,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        timeout_seconds=BUILD_TIMEOUT_SECONDS,
    )


def with_python(script: bytes) -> bytes:
    """Give a console script the tree's Python in its first line, in place of this machine's; leave programs alone."""
    first, newline, rest = script.partition(b"\n")
    return b"#!/usr/bin/python3" + newline + rest if first.startswith(b"#!") and b"python" in first else script


def _pip_options() -> tuple[str, ...]:
    """Say for which machine wheels are wanted: pip does not infer the older tags from the newest."""
    machine = platform.machine()
    platforms = (*(f"manylinux_2_{minor}_{machine}" for minor in range(36, 4, -1)), f"manylinux2014_{machine}")
    return (
        *("--quiet", "--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--no-compile"),
        *("--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"),
        *(f"--abi={abi}" for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none")),
        *(f"--platform={tag}" for tag in platforms),
    )
