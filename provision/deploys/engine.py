"""Role 'engine': a Docker engine of the booking's own, beside the host's, which is neither touched nor started.

Own data-root, exec-root, socket and namespaces of containerd; no bridge and no firewall rules; containers run under
the booking's range of user ids. Pulls of the images are started in the background and nobody waits for them here.
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from provision.deploys.item import Item
from provision.deploys.items.docker import Containers, DataRoot, Namespaces, Prefetch, namespaces
from provision.deploys.items.files import Directory, File, Leftover
from provision.deploys.items.packages import Packages
from provision.deploys.items.units import Running, Unit
from provision.deploys.places import CONFIG, DATA, RUN, booking_data, engine_socket, engine_unit
from provision.deploys.role import Role, Seen
from provision.deploys.templates import render

GROUP = "engine"
Reference = Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$")]


class Registry(BaseModel):
    """Where images come from, and the authority that signs its certificate."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.\[\]:-]+$")]
    ca_pem: str | None = None


class Engine(Role):
    """Parameters: the user whose ids containers run under, the registry, and the images to pull ahead."""

    slot: Annotated[int, Field(ge=0)]
    user: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    registry: Registry | None = None
    prefetch: tuple[Reference, ...] = ()

    def items(self) -> tuple[Item, ...]:
        """Docker and containerd, the engine's directories, configuration and unit, then the pulls."""
        directory = f"{CONFIG}/engines"
        path = f"{directory}/{self.booking}.json"
        config = File(path=path, content=json.dumps(self._settings(), indent=2, sort_keys=True) + "\n")
        unit = render("docker.service", booking=self.booking, config=path, plugins=namespaces(self.booking)[1])
        return (
            Packages(names=("docker.io",), provides="dockerd", shared=GROUP),
            Running(name="containerd.service", shared=GROUP),
            Directory(path=CONFIG, shared=GROUP, ours=True),
            Directory(path=directory, shared=GROUP, ours=True),
            Directory(path=DATA, mode=0o711, shared=GROUP, ours=True),
            Directory(path="/etc/docker", shared=GROUP),
            *self._authority(),
            Leftover(path="/etc/docker/key.json", shared=GROUP),
            Namespaces(booking=self.booking),
            DataRoot(path=booking_data(self.booking), run=f"{RUN}/{self.booking}"),
            config,
            Unit(name=engine_unit(self.booking), content=unit, follows=(config.label,), timeout_seconds=90),
            Containers(booking=self.booking),
            *(Prefetch(booking=self.booking, reference=reference) for reference in self.prefetch),
        )

    def outputs(self, seen: Seen) -> dict[str, object]:
        """Where the engine listens and writes."""
        return {"socket": engine_socket(self.booking), "data_root": booking_data(self.booking)}

    def _settings(self) -> dict[str, object]:
        docker, _ = namespaces(self.booking)
        return {
            "data-root": booking_data(self.booking),
            "exec-root": f"{RUN}/{self.booking}",
            "pidfile": f"{RUN}/{self.booking}/docker.pid",
            "group": "root",
            "hosts": [f"unix://{engine_socket(self.booking)}"],
            "containerd-namespace": docker,
            "userns-remap": self.user,
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "ip-forward": False,
            "ip-masq": False,
            "userland-proxy": False,
            "live-restore": True,
            "no-new-privileges": True,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "log-driver": "local",
            "log-opts": {"max-size": "20m", "max-file": "2"},
            "shutdown-timeout": 5,
        }

    def _authority(self) -> tuple[Item, ...]:
        """Return what lets the engine trust the registry; other engines of the host read the same place."""
        if self.registry is None or self.registry.ca_pem is None:
            return ()
        group = f"registry {self.registry.address}"
        directory = f"/etc/docker/certs.d/{self.registry.address}"
        return (
            Directory(path="/etc/docker/certs.d", shared=group),
            Directory(path=directory, shared=group),
            File(path=f"{directory}/ca.crt", content=self.registry.ca_pem, shared=group, foreign=True),
        )


ROLE = Engine
