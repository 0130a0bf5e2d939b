"""requirements.lock against pyproject.toml: `write` makes it anew, `check` (no network) says what does not fit.

The lock holds hashes of every file and no address: which registry serves them is the machine's affair.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
COMPILE = (
    *("pip", "compile", "--quiet", "--python-version", "3.11", "--universal", "--all-extras", "--generate-hashes"),
    *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header"),
)
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)")


def main(arguments: list[str]) -> int:
    """Run `write [--upgrade]` or `check`."""
    match arguments:
        case ["write", *options]:
            uv = Path(sys.executable).with_name("uv")
            return subprocess.run([uv, *COMPILE, *options, PROJECT, "-o", LOCK], check=False).returncode
        case ["check"]:
            problems = list(misfits(PROJECT.read_text(), LOCK.read_text()))
            if problems:
                print(*problems, "make lock makes requirements.lock anew", sep="\n")
            return int(bool(problems))
        case _:
            print("usage: tools/lock.py write [--upgrade] | check")
            return 2


def misfits(project: str, lock: str) -> Iterator[str]:
    """Say which requirement of `project` no pin of `lock` meets, and which line of `lock` should not be there."""
    pins = {canonical(pin["name"]): pin["version"] for line in lock.splitlines() if (pin := PIN.match(line))}
    for requirement in requirements(project):
        version = pins.get(canonical(requirement.name))
        if version is None:
            yield f"requirements.lock: {requirement.name}: expected a pin for '{requirement}', found none"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"requirements.lock: {requirement.name}: expected what meets '{requirement}', found {version}"
    for number, line in enumerate(lock.splitlines(), 1):
        if "://" in line:
            yield f"requirements.lock:{number}: expected no address, found {line.strip()}"
    for block in re.split(r"\n(?=\S)", lock.strip()):
        if "--hash=sha256:" not in block:
            yield f"requirements.lock: expected a hash, found {block.splitlines()[0]}"


def requirements(project: str) -> Iterator[Requirement]:
    """Every requirement of every extra."""
    table = tomllib.loads(project)["project"]
    for lines in (table.get("dependencies", []), *table.get("optional-dependencies", {}).values()):
        yield from (Requirement(line) for line in lines if not line.startswith(f"{table['name']}["))


def canonical(name: str) -> str:
    """Return `name` as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
