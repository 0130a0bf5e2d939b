"""A lab for benchmarks, in a state directory of its own, and the two ways to a cluster on it: `timelock` and the floor.

Whatever happens, the lab is gone when the block of `site()` is left; what an earlier run left is cleared first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.usage import Usage, measured
from provision.booking.image import resolve
from provision.booking.stack import PAUSE_IMAGE
from provision.home import Home
from provision.lab.lab import Lab
from provision.supply.inventory import read_inventory
from provision.supply.model import Host

HERE = Path(__file__).parent
TIMELOCK = Path(sys.executable).with_name("timelock")
DRIVER = HERE.parent / "provision/booking/templates/slots.py.in"
BOOKING = "bench"
IMAGE = "timelock/ray:2.60-py311"
GPUS_PER_HOST = 2
COMMAND_SECONDS = 420.0
STATE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A lab that is up, and where its files are."""

    home: Home
    lab: Lab

    @property
    def group(self) -> Path:
        """The control group of everything in the lab."""
        return self.lab.hosts[0].group.unified.parent

    @property
    def log(self) -> Path:
        """What the last measured command printed."""
        return self.home.root / "log"

    @property
    def journal(self) -> Path:
        """What Timelock's workers did in the last booking."""
        return self.home.booking(BOOKING).journal

    @property
    def marks(self) -> Path:
        """What the floor did last."""
        return self.home.root / "floor" / "marks"

    def grow(self, hosts: int) -> None:
        """Have at least that many hosts."""
        self.lab.up(hosts=hosts, gpus=GPUS_PER_HOST)

    def book(self, hosts: int) -> Usage:
        """`timelock book`, from nothing to a cluster on so many hosts; or again, when it is booked."""
        request = self.home.root / "request.yaml"
        request.write_text(
            f"name: {BOOKING}\ngpu: {{model: H100, count: {GPUS_PER_HOST * hosts}, hosts: {hosts}}}\n"
            f"window: {{start: now, duration: 2h}}\nimage: {IMAGE}\n"
        )
        return self._timelock("book", str(request), "--yes", "--no-serve", "--inventory", str(self.lab.inventory_file))

    def release(self) -> Usage:
        """`timelock release`."""
        return self._timelock("release", BOOKING, "--yes")

    def floor(self, hosts: int) -> Usage:
        """The floor of `book`, on the hosts that a booking of so many would get."""
        return self._run([HERE / "floor.sh", self._prepare_floor(hosts)])

    def floor_release(self) -> Usage:
        """The floor of `release`."""
        return self._run([HERE / "floor_release.sh", self.marks.parent])

    def state(self, hosts: int) -> dict[str, list[str]]:
        """What a booking is on each host, by bench/state.sh."""
        return {host.name: self._state(host) for host in self._supply(hosts)}

    def _timelock(self, *words: str) -> Usage:
        return self._run([TIMELOCK, *words])

    def _run(self, command: Sequence[str | Path]) -> Usage:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIMELOCK_")}
        environ = {**kept, **_variables(self.home), **self._floor_variables()}
        return measured(command, group=self.group, environ=environ, log=self.log, limit_seconds=COMMAND_SECONDS)

    def _prepare_floor(self, hosts: int) -> Path:
        directory = self.marks.parent
        directory.mkdir(exist_ok=True, mode=0o700)
        supply = self._supply(hosts)
        (directory / "known_hosts").write_text("".join(f"{host.address} {host.host_key}\n" for host in supply))
        lines = []
        for index, host in enumerate(supply, 1):
            gpus = ",".join(gpu.uuid for gpu in host.gpus)
            lines.append(f"{host.name} {host.address} {index} {host.cpus} {host.memory_bytes} {gpus}")
        (directory / "hosts").write_text("\n".join(lines) + "\n")
        return directory

    def _floor_variables(self) -> dict[str, str]:
        inventory = read_inventory(self.lab.inventory_file, cache_dir=self.home.cache / "inventories")
        if inventory.registry is None:
            raise AssertionError("a lab's inventory names its registry")
        address, ca_file = inventory.registry.address, inventory.registry.ca_file
        ca_path = Path(ca_file) if ca_file else None
        return {
            "BOOKING": BOOKING,
            "KEY": str(self.lab.key_file),
            "KNOWN_HOSTS": str(self.marks.parent / "known_hosts"),
            "REGISTRY": address,
            "CA": str(ca_file),
            "IMAGE": resolve(IMAGE, address, ca_path),
            "PAUSE": resolve(PAUSE_IMAGE, address, ca_path),
            "MANAGEMENT": ",".join(inventory.hosts[0].management),
            "DRIVER": str(DRIVER),
        }

    def _supply(self, count: int) -> tuple[Host, ...]:
        hosts = read_inventory(self.lab.inventory_file, cache_dir=self.home.cache / "inventories").hosts
        return tuple(sorted(hosts, key=lambda host: int(host.name.rpartition("-a")[2])))[:count]

    def _state(self, host: Host) -> list[str]:
        options = ("-F", "none", "-i", host.key_file, "-oBatchMode=yes", "-oStrictHostKeyChecking=yes")
        known = f"-oUserKnownHostsFile={self.marks.parent / 'known_hosts'}"
        with (HERE / "state.sh").open("rb") as script:
            found = subprocess.run(
                ["ssh", *map(str, options), known, f"{host.user}@{host.address}", "bash", "-s", BOOKING],
                stdin=script,
                capture_output=True,
                text=True,
                timeout=STATE_SECONDS,
                check=True,
            )
        return found.stdout.splitlines()


@contextmanager
def site(hosts: int) -> Iterator[Site]:
    """A lab of `hosts` hosts for as long as the block runs."""
    outer = Home.from_env()
    home = Home.from_env({"TIMELOCK_HOME": str(outer.root / "bench"), "TIMELOCK_CACHE": str(outer.cache)})
    lab = Lab(home, "bench")
    try:
        lab.down()
        shutil.rmtree(home.root, ignore_errors=True)
        home.root.mkdir(parents=True, mode=0o700)
        lab.up(hosts=hosts, gpus=GPUS_PER_HOST)
        yield Site(home=home, lab=lab)
    finally:
        lab.down()
        shutil.rmtree(home.root, ignore_errors=True)


def _variables(home: Home) -> dict[str, str]:
    return {"TIMELOCK_HOME": str(home.root), "TIMELOCK_CACHE": str(home.cache)}
