"""An Ansible inventory → Supply: the one door. Users bring what they have: INI, YAML, group_vars, host_vars, scripts.

Reads files (and runs inventory scripts); the hosts themselves are not asked. The variables are listed in variables.py.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.errors import InvalidInput
from provision.supply import cache
from provision.supply.document import supply_of
from provision.supply.model import Supply
from provision.supply.variables import Desk, hosts_of, registry_of, site_rtt_of


def read_inventory(path: Path, cache_dir: Path | None = None) -> Supply:
    """Return the supply that the inventory at `path` (a file or a folder) describes.

    With `cache_dir`, what files alone determine is kept there and read again only when one of them changes; the
    output of scripts and plugins never is.

    Raises:
        InvalidInput: with all problems, each 'file:line: host a1: variable: expected …, found …'.
    """
    if not path.exists():
        raise InvalidInput((f"{path}: expected an inventory, found no such file",))
    mark = cache.fingerprint(path) if cache_dir else ""
    kept = cache.load(cache_dir, path, mark) if cache_dir else None
    if kept:
        return kept
    with _collector_at_rest():
        supply, lasting = _read(path)
    if cache_dir and lasting and cache.fingerprint(path) == mark:
        cache.save(cache_dir, path, mark, supply)
    return supply


def _read(path: Path) -> tuple[Supply, bool]:
    """Read an inventory through Ansible; also tell whether the same files would give the same again."""
    from provision.supply.reading import read  # Ansible takes a third of a second to load

    reading = read(path)
    if reading.problems:
        raise InvalidInput(reading.problems)
    desk = Desk(path=path, where=reading.where)
    hosts, site_rtt, registry = hosts_of(reading, desk), site_rtt_of(reading, desk), registry_of(reading, desk)
    desk.raise_if_any()
    return supply_of(hosts, site_rtt, registry), reading.lasting


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from walking millions of fresh values again and again (half of the time)."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
