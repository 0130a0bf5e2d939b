"""What there is of a lab right now, as asked of the hosts and services themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provision.lab.host import LabHost
from provision.lab.ready import answers_ssh


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """A host of the lab: `up` answers SSH, `starting` has processes but no SSH, `down` has none."""

    name: str
    address: str
    gpus: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatus:
    """The lab's hosts and services, and where its files lie."""

    name: str
    subnet: str
    hosts: tuple[HostStatus, ...]
    registry: bool
    proxy: bool
    inventory: Path
    key_file: Path

    @property
    def ready(self) -> bool:
        """Whether every host and both services answer."""
        return bool(self.hosts) and self.registry and self.proxy and all(host.state == "up" for host in self.hosts)


def host_status(host: LabHost) -> HostStatus:
    """Look at one host."""
    state = "down"
    if host.alive():
        state = "up" if answers_ssh(host.address) else "starting"
    return HostStatus(name=host.name, address=host.address, gpus=host.gpus, state=state)
