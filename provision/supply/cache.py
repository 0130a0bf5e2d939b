"""A Supply kept by the content of every file it was read from, so that an inventory is parsed once.

A damaged, foreign or unwritable cache is no error: the inventory is simply read again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from proofs import canonical
from provision.supply import document
from provision.supply.model import Supply

FORMAT = 1
CONFIGURATIONS = ("ansible.cfg", "~/.ansible.cfg", "/etc/ansible/ansible.cfg")


def fingerprint(inventory: Path) -> str:
    """Return a digest of all that Ansible reads for an inventory: files, group_vars, host_vars, its configuration."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("ANSIBLE_")}
    configurations = [Path(name).expanduser() for name in (*CONFIGURATIONS, os.environ.get("ANSIBLE_CONFIG", ""))]
    return hashlib.sha256(
        canonical.encode(
            {
                "format": FORMAT,
                "ansible": version("ansible-core"),
                "path": str(inventory.absolute()),
                "settings": settings,
                "files": [_identity(path) for path in (*_files(inventory), *configurations) if path.is_file()],
            }
        )
    ).hexdigest()


def load(folder: Path, inventory: Path, mark: str) -> Supply | None:
    """Return the Supply kept for `inventory` if it was read from files of the same fingerprint and is intact."""
    try:
        header, _, body = _place(folder, inventory).read_bytes().partition(b"\n")
        kept = json.loads(header)
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.get("fingerprint") != mark or kept.get("digest") != document.digest_of(body):
        return None
    return document.decode(body)


def save(folder: Path, inventory: Path, mark: str, supply: Supply) -> None:
    """Keep a Supply, in place of what was kept for this inventory before."""
    header = canonical.encode({"digest": supply.digest, "fingerprint": mark})
    place = _place(folder, inventory)
    draft = place.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(header + b"\n" + document.encode(supply))
        draft.replace(place)


def _place(folder: Path, inventory: Path) -> Path:
    name = hashlib.sha256(os.fsencode(inventory.absolute())).hexdigest()[:24]
    return folder / f"supply-{name}.json"


def _identity(path: Path) -> list[str | bool]:
    """Return a file's path, whether Ansible would run it, and the digest of its content."""
    return [str(path.absolute()), os.access(path, os.X_OK), hashlib.sha256(path.read_bytes()).hexdigest()]


def _files(inventory: Path) -> Iterator[Path]:
    """Yield the files of an inventory in a stable order, each folder once, however it is linked."""
    folders = [inventory] if inventory.is_dir() else [inventory.parent / name for name in ("group_vars", "host_vars")]
    if inventory.is_file():
        yield inventory
    seen: set[str] = set()
    for folder in folders:
        for root, below, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(root)
            below[:] = [] if real in seen else sorted(below)
            seen.add(real)
            yield from (Path(root) / name for name in sorted(names))
