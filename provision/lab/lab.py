"""The lab supplier: brings real Linux hosts up on this machine in seconds, and takes them away without a trace.

The order of things is here; how each is done is in the modules beside. Everything a lab makes bears its number, so
that `down` clears by names and needs nothing of the command that made it.
"""

from __future__ import annotations

import concurrent.futures
import re
import time
from collections.abc import Callable
from pathlib import Path

from provision.errors import InvalidInput
from provision.home import Home
from provision.lab import host as host_room
from provision.lab import machine, network, remains, services
from provision.lab.gpus import wake_devices
from provision.lab.host import LabHost
from provision.lab.image import host_image
from provision.lab.inventory import inventory, machine_share, write_inventory
from provision.lab.keys import make_key_pair
from provision.lab.lock import lab_lock
from provision.lab.network import Network
from provision.lab.numbers import hold_number, release_number
from provision.lab.ready import answers_ssh
from provision.lab.state import HostRecord, LabState, read_state, write_state
from provision.lab.status import LabStatus, host_status

NAME = re.compile(r"[a-z][a-z0-9-]{0,20}")

Progress = Callable[[str], None]


class Lab:
    """A lab by its name in one state directory."""

    def __init__(self, home: Home, name: str = "lab") -> None:
        if not NAME.fullmatch(name):
            raise InvalidInput(
                (f"lab: expected a name such as `lab` (a-z, 0-9, -; at most 21 letters), found {name!r}",)
            )
        self.home = home
        self.name = name
        self.place = home.lab(name)
        self._state_file = self.place / "state.json"

    @property
    def inventory_file(self) -> Path:
        """The lab's hosts as an Ansible inventory."""
        return self.place / "inventory.yaml"

    @property
    def key_file(self) -> Path:
        """The private key that opens every host of the lab."""
        return self.place / "ssh" / "id_ed25519"

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """The hosts the lab has, dead or alive; none where there is no lab. Raises MachineCannot (damaged state)."""
        state = read_state(self._state_file)
        return tuple(self._host(state.number, record) for record in state.hosts) if state else ()

    def host(self, name: str) -> LabHost:
        """The host called `name`; raises InvalidInput where the lab has none of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise InvalidInput(
            (f"host: expected one of {', '.join(host.name for host in self.hosts) or 'a running lab'}, found {name!r}",)
        )

    def up(
        self, hosts: int = 3, gpus: int = 2, image: str = "golden", progress: Progress = lambda line: None
    ) -> LabStatus:
        """Have at least `hosts` hosts running; what runs already is left alone.

        New hosts get `gpus` GPUs and start from the image of that flavour.
        Raises MachineCannot, HostFailed (a host that does not come up), Locked, InvalidInput.
        """
        machine.require(self.home, hosts=hosts, gpus=gpus)
        with lab_lock(self.place, "lab up"):
            tree = host_image(self.home, image, progress)
            state = self._remember(hosts, gpus, tree)
            for device in wake_devices(max(record.gpus for record in state.hosts)):
                progress(f"/dev/{device}: this machine has no such console, so the device will not open in the hosts")
            machine.require_watchers(sum(not host.alive() for host in self.hosts))
            make_key_pair(self.key_file, f"timelock lab {self.name}")
            network.up(Network(number=state.number))
            self._start_all(state, progress)
            self._write_inventory(state)
            return self.status()

    def down(self, progress: Progress = lambda line: None) -> None:
        """Remove all of the lab, in whatever state; does nothing where there is none. Raises MachineCannot, Locked."""
        machine.require_root()
        with lab_lock(self.place, "lab down"):
            number = remains.number_of(self.place, self._state_file)
            if number is not None:
                progress(f"lab {self.name}: ending its hosts")
                remains.clear(number)
            services.stop_registry(self.place)
            remains.remove_files(self.place)
            release_number(self.place)

    def status(self) -> LabStatus:
        """Look at every host and service of the lab."""
        hosts = self.hosts
        own = hosts[0].network if hosts else None
        return LabStatus(
            name=self.name,
            subnet=own.subnet if own else "",
            hosts=tuple(host_status(host) for host in hosts),
            registry=own is not None and services.registry_of(self.home, self.place, own).alive(),
            proxy=own is not None and services.proxy_alive(own),
            inventory=self.inventory_file,
            key_file=self.key_file,
        )

    def kill_host(self, name: str) -> None:
        """End a host at once, as a power cut does; its disk stays."""
        host_room.stop(self.host(name))

    def start_host(self, name: str) -> None:
        """Start a dead host again and wait for SSH; raises HostFailed, Locked."""
        with lab_lock(self.place, "lab start"):
            host_room.boot(self.host(name))

    def _host(self, number: int, record: HostRecord) -> LabHost:
        place = self.place / "hosts" / record.name
        own = Network(number=number)
        return LabHost(
            name=record.name, index=record.index, gpus=record.gpus, image=Path(record.image), place=place, network=own
        )

    def _remember(self, hosts: int, gpus: int, image: Path) -> LabState:
        """Write down what the lab is to be, before anything of it is made."""
        self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = read_state(self._state_file)
        number = hold_number(self.place, preferred=old.number if old else None, clear=remains.clear)
        base = LabState(
            number=number, created_ns=old.created_ns if old else time.time_ns(), hosts=old.hosts if old else ()
        )
        state = base.with_hosts(self.name, count=hosts, gpus=gpus, image=image)
        if state != old:
            write_state(self._state_file, state)
        return state

    def _start_all(self, state: LabState, progress: Progress) -> None:
        """Start hosts and services side by side; the first failure is raised after all have been tried."""
        own = Network(number=state.number)
        hosts = [self._host(state.number, record) for record in state.hosts]
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(hosts) + 2) as pool:
            jobs = [pool.submit(self._bring_up, host, progress) for host in hosts]
            jobs.append(pool.submit(services.start_proxy, self.place, own))
            jobs.append(pool.submit(services.start_registry, self.home, self.place, own, progress))
        for job in jobs:
            job.result()

    def _bring_up(self, host: LabHost, progress: Progress) -> None:
        if host.alive() and answers_ssh(host.address):
            return
        host_room.prepare(host, authorized_key=self.key_file.with_suffix(".pub").read_text())
        host_room.boot(host)
        progress(f"{host.name}: up at {host.address}")

    def _write_inventory(self, state: LabState) -> None:
        hosts = self.hosts
        cpus, memory_bytes = machine_share()
        ca_file = services.registry_of(self.home, self.place, hosts[0].network).ca_file
        content = inventory(
            hosts,
            key_file=self.key_file,
            ca_file=ca_file,
            created_ns=state.created_ns,
            cpus=cpus,
            memory_bytes=memory_bytes,
        )
        write_inventory(self.inventory_file, content)
