"""Builds the fake driver library and the program that uses it, once for each content, with the machine's gcc.

The symbols that the official header declares or nvidia-ml-py asks for, and that source/ does not define, become stubs
that answer NOT_SUPPORTED: made at build time, since both lists are other people's and change.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

SOURCE = Path(__file__).with_name("source")
CACHE = Path(__file__).parents[2] / ".cache" / "fake-nvml"
SONAME = "libnvidia-ml.so.1"
LIMIT_SECONDS = 120
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
LIBRARY = ("machine.c", "registry.c", "call.c", "devices.c", "processes.c", "accounting.c")
USER = ("machine.c", "registry.c", "user.c")

DECLARED = re.compile(r"\bDECLDIR\s+(nvml\w+)\s*\(")
ASKED_FOR = re.compile(r"""_nvmlGetFunctionPointer\(["'](nvml\w+)["']\)""")
STUBS = """\
int fake_stub(const char *function);
#define STUB(name) __attribute__((weak)) int name(void) { return fake_stub(__func__); }
"""


def obstacle() -> str:
    """Why nothing can be built here; empty when it can."""
    if shutil.which("gcc") is None:
        return "no gcc on this machine to build the fake NVML"
    missing = [name for name in ("pynvml", "nvidia") if importlib.util.find_spec(name) is None]
    return f"the extras agent and dev are not installed: no {', '.join(missing)}" if missing else ""


def symbols(header: str, binding: str) -> list[str]:
    """Every function that the header declares or the Python binding asks for."""
    return sorted({*DECLARED.findall(header), *ASKED_FOR.findall(binding)})


def names() -> list[str]:
    """Every symbol that the library has."""
    return symbols(_header().read_text(), _binding().read_text())


def build(missing: Iterable[str] = ()) -> Path:
    """Give the directory with the library, without the symbols `missing`, and the program `user`."""
    hidden = sorted(missing)
    digest = _digest(hidden)
    place = CACHE / digest
    if not place.exists():
        fresh = CACHE / f".{digest}.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        _compile(fresh, hidden)
        _keep(fresh, place)
    return place


def _compile(place: Path, hidden: list[str]) -> None:
    stubs = "".join(f"STUB({name})\n" for name in names())
    (place / "stubs.c").write_text(STUBS + stubs)
    hide = "".join(f" {name};" for name in hidden)
    (place / "exports.map").write_text(f"{{ global: nvml*; local:{hide} *; }};\n")
    _gcc(
        *FLAGS,
        *("-fPIC", "-shared", "-pthread", "-isystem", str(_header().parent)),
        *("-Wl,-soname," + SONAME, f"-Wl,--version-script={place / 'exports.map'}"),
        *("-o", str(place / SONAME), str(place / "stubs.c"), *(str(SOURCE / name) for name in LIBRARY)),
    )
    _gcc(*FLAGS, "-static", "-pthread", "-o", str(place / "user"), *(str(SOURCE / name) for name in USER))


def _gcc(*arguments: str) -> None:
    done = subprocess.run(
        ("gcc", *arguments),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(f"the fake NVML does not build:\n{done.stderr}")


def _keep(fresh: Path, place: Path) -> None:
    """Put it in place; who builds the same at the same time may come first."""
    try:
        fresh.rename(place)
    except OSError:
        shutil.rmtree(fresh)
        if not place.exists():
            raise


def _digest(hidden: list[str]) -> str:
    parts = [*sorted(SOURCE.iterdir()), Path(__file__), _header(), _binding()]
    seen = hashlib.sha256()
    for part in parts:
        seen.update(hashlib.sha256(part.read_bytes()).digest())
    seen.update("\n".join(hidden).encode())
    return seen.hexdigest()[:16]


def _header() -> Path:
    return _found("nvidia.cu13") / "include" / "nvml.h"


def _binding() -> Path:
    spec = importlib.util.find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise RuntimeError(obstacle())
    return Path(spec.origin)


def _found(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(obstacle())
    return Path(next(iter(spec.submodule_search_locations)))
