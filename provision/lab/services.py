"""The two services a lab has beside its hosts: the package proxy and the registry with a booking's images.

Both listen on the controller's leg only and are processes of the lab's control group.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from provision.errors import MachineCannot
from provision.home import Home
from provision.lab import detached
from provision.lab.cgroups import Group, hierarchies
from provision.lab.daemon import Daemon
from provision.lab.network import PROXY_PORT, REGISTRY_PORT, Network
from provision.lab.oci import pause_image, ray_image
from provision.lab.ready import listens
from provision.lab.registry import Registry
from provision.lab.sources import debian_sources

LIMIT_SECONDS = 20.0
POLL_SECONDS = 0.02

Progress = Callable[[str], None]


def registry_of(home: Home, place: Path, network: Network) -> Registry:
    """Give the lab's registry; all labs of a cache share its store."""
    return Registry(place=place, address=network.controller, storage=home.cache / "registry", port=REGISTRY_PORT)


def start_proxy(place: Path, network: Network) -> None:
    """Start the package proxy unless it listens, and wait until it does; raises MachineCannot."""
    group = _group(network, "proxy")
    if group.alive() and listens(network.controller, PROXY_PORT):
        return
    group.remove()
    group.create()
    log = place / "proxy.log"
    task = {"address": network.controller, "port": PROXY_PORT, "sources": debian_sources()}
    detached.start("provision.lab.proxy", task, procs_files=group.procs_files(), log=log)
    deadline = time.monotonic() + LIMIT_SECONDS
    while not listens(network.controller, PROXY_PORT):
        if not group.alive() or time.monotonic() > deadline:
            raise MachineCannot(
                f"package proxy: expected it to listen on {network.controller}:{PROXY_PORT}, it does not",
                next_step=f"read {log}",
            )
        time.sleep(POLL_SECONDS)


def start_registry(home: Home, place: Path, network: Network, progress: Progress) -> None:
    """Start the registry, filled with the images of a booking; the images are built if the cache has none."""
    registry = registry_of(home, place, network)
    registry.start()
    _adopt(place, network)
    for image in (pause_image(home.images, progress), ray_image(home.images, progress)):
        registry.push(image.layout, image.reference)


def stop_registry(place: Path) -> None:
    """Stop the registry that was started for the lab in `place`, also where it never got into the lab's group."""
    _registry_process(place).stop()


def proxy_alive(network: Network) -> bool:
    """Say whether the package proxy listens."""
    return listens(network.controller, PROXY_PORT)


def _adopt(place: Path, network: Network) -> None:
    """Take the registry's process into the lab's group, so that clearing the group ends it too."""
    group = _group(network, "registry")
    group.create()
    pid = _registry_process(place).pid
    if pid is not None:
        (group.unified / "cgroup.procs").write_text(str(pid))


def _registry_process(place: Path) -> Daemon:
    return Daemon(pid_file=place / "registry" / "pid", log=place / "registry" / "log")


def _group(network: Network, name: str) -> Group:
    return Group(name=f"{network.group}/{name}", hierarchies=hierarchies()[:1])
