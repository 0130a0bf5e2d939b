"""The mesh of a booking as the kernel of its host has it.

What is made is made by `templates/mesh.sh`, which the mesh's unit runs; this compares and asks for a sync.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from provision.deploys.item import Change, Command, Stays, quote
from provision.deploys.items.planes import Plane, SeenMesh, differences

_SYNC_TIMEOUT_SECONDS = 60
_RESOLVER = "nameserver 127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMesh(Stays):
    """The mesh in the kernel, brought in line without touching an interface that stands. Goes with the pause container.

    `follows` are files whose change asks for a sync even where nothing differs yet; while `unit` starts in the same
    run, it does all this itself.
    """

    directory: str
    unit: str
    follows: tuple[str, ...]
    pause_image: str
    name: str
    address: str
    hosts: str
    planes: tuple[Plane, ...]
    shared: str = ""

    @property
    def label(self) -> str:
        """'mesh'."""
        return "mesh"

    def probe(self) -> str:
        """Print what is there, without secrets."""
        return f"sh {self._script} show {quote(self.directory)}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Name each difference; one sync puts all of them right."""
        if self.unit in changed:
            return ()
        reasons = self._differences(SeenMesh.parse(seen))
        reasons += [f"{label} changes" for label in self.follows if label in changed and not reasons]
        sync = Command(text=f"sh {self._script} sync {quote(self.directory)}", timeout_seconds=_SYNC_TIMEOUT_SECONDS)
        return tuple(Change(reason=why, commands=() if n else (sync,)) for n, why in enumerate(reasons))

    def _differences(self, seen: SeenMesh) -> list[str]:
        if seen.pause != (self.pause_image, self.name):
            return ["another pause container" if any(seen.pause) else "pause container not running"]
        found = []
        if seen.addresses != {self.address}:
            found.append(f"address {self.address} missing")
        if seen.hosts != hashlib.sha256(self.hosts.encode()).hexdigest():
            found.append("other host names")
        if seen.resolver != _RESOLVER:
            found.append("another resolver")
        for plane in self.planes:
            found += [f"{what} on plane {plane.index}" for what in differences(plane, seen.planes.get(plane.index))]
        return found

    @property
    def _script(self) -> str:
        return quote(f"{self.directory}/mesh.sh")
