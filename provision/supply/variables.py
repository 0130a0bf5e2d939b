"""Inventory variables → hosts: which variables there are, what they may say, and every problem with its place.

Pure: it gets the variables that reading.py merged. A host without `timelock_gpus` is no supply and is left out; a
variable that begins with `timelock_` and is not known is a problem, so that a slip of the pen loses no host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from provision.errors import InvalidInput
from provision.spelling import did_you_mean
from provision.supply import values
from provision.supply.gpus import gpus_of
from provision.supply.model import Gpu, Host, Registry

T = TypeVar("T")
Variables = Mapping[str, object]

OF_ALL = ("timelock_site_rtt", "timelock_registry", "timelock_registry_ca_file")
OF_HOST = (
    "timelock_supplier",
    "timelock_site",
    "timelock_region",
    "timelock_tier",
    "timelock_price_per_gpu_hour",
    "timelock_soc2_report_date",
    "timelock_access_rtt",
    "timelock_cpus",
    "timelock_memory",
    "timelock_host_key",
    "timelock_management",
    "timelock_gpus",
)
MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An inventory as it was read: what group `all` says for all hosts together, and the variables of each host.

    `where` tells a value's 'path:line'; `lasting` says that the same files would give the same reading again.
    """

    shared: Variables
    hosts: tuple[tuple[str, Variables], ...]
    problems: tuple[str, ...]
    lasting: bool
    where: Callable[[object], str]


@dataclass(slots=True, kw_only=True)
class Desk:
    """Where variables are read and problems are noted; one that many hosts share through a group is noted once."""

    path: Path
    where: Callable[[object], str]
    problems: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def note(self, host: str, message: str, value: object = None) -> None:
        """Note a problem of a host ('' is group all), at the place where `value` was written."""
        place = _shown(self.where(value)) or str(self.path)
        self.problems.setdefault((place, message), []).append(f"host {host}" if host else "group all")

    def need(self, host: str, variables: Variables, name: str, read: Callable[[object], T], otherwise: T) -> T:
        """Return a variable that must be set; a missing or bad one is noted and read as `otherwise`."""
        value = variables.get(name)
        if value is None:
            return self._read(host, name, values.Missing(), read, otherwise, near=variables.get("timelock_gpus"))
        return self._read(host, name, value, read, otherwise, near=value)

    def may(self, host: str, variables: Variables, name: str, read: Callable[[object], T], otherwise: T) -> T:
        """Return a variable that may be left out; a bad one is noted and read as `otherwise`."""
        value = variables.get(name)
        return otherwise if value is None else self._read(host, name, value, read, otherwise, near=value)

    def _read(
        self, host: str, name: str, value: object, read: Callable[[object], T], otherwise: T, *, near: object
    ) -> T:
        try:
            return read(value)
        except ValueError as error:
            for message in error.args:
                self.note(host, f"{name}{message}" if message.startswith("[") else f"{name}: {message}", near)
            return otherwise

    def raise_if_any(self) -> None:
        """Raise InvalidInput with all problems, up to a hundred and the count of the rest."""
        told = [f"{place}: {_counted(hosts)}: {message}" for (place, message), hosts in self.problems.items()]
        if told:
            rest = len(told) - MOST_PROBLEMS
            raise InvalidInput((*told[:MOST_PROBLEMS], *([f"… and {rest} more problems"] if rest > 0 else [])))


def hosts_of(reading: Reading, desk: Desk) -> tuple[Host, ...]:
    """Return the hosts that have GPUs, by name."""
    hosts = []
    for name, variables in sorted(reading.hosts):
        _check_names(name, variables, desk)
        if "timelock_gpus" in variables:
            hosts.append(_host(name, variables, desk))
    _check_unique(hosts, desk)
    if not hosts:
        desk.note("", f"expected a host with timelock_gpus, found none among {len(reading.hosts)} hosts")
    return tuple(hosts)


def site_rtt_of(reading: Reading, desk: Desk) -> dict[tuple[str, str], int]:
    """Return the round trip of each pair of sites; where both directions were measured, the longer."""
    nothing: dict[tuple[str, str], int] = {}
    return desk.may("", reading.shared, "timelock_site_rtt", values.site_rtt, nothing)


def registry_of(reading: Reading, desk: Desk) -> Registry | None:
    """Return the registry from which hosts pull, if the inventory names one."""
    address = desk.may("", reading.shared, "timelock_registry", values.endpoint, None)
    ca_file = desk.may("", reading.shared, "timelock_registry_ca_file", values.file_beside(desk.path), None)
    return Registry(address=address, ca_file=ca_file) if address else None


def _host(name: str, variables: Variables, desk: Desk) -> Host:
    def need(variable: str, read: Callable[[object], T], otherwise: T) -> T:
        return desk.need(name, variables, variable, read, otherwise)

    def may(variable: str, read: Callable[[object], T], otherwise: T) -> T:
        return desk.may(name, variables, variable, read, otherwise)

    if not values.HOST_NAME.fullmatch(name):
        desk.note(name, "expected a name of letters, digits, '.', '_' and '-'")
    price_micros, currency = need("timelock_price_per_gpu_hour", values.price, (0, ""))
    nothing: tuple[Gpu, ...] = ()
    return Host(
        name=name,
        supplier=need("timelock_supplier", values.name, ""),
        site=need("timelock_site", values.name, ""),
        region=may("timelock_region", values.region, ""),
        tier=may("timelock_tier", values.tier, None),
        soc2_until_ns=may("timelock_soc2_report_date", values.soc2_until, None),
        price_micros_per_gpu_hour=price_micros,
        currency=currency,
        access_rtt_ns=may("timelock_access_rtt", values.rtt, values.ACCESS_RTT_NS),
        address=may("ansible_host", values.address, name),
        port=may("ansible_port", values.port, 22),
        user=may("ansible_user", values.name, "root"),
        key_file=need("ansible_ssh_private_key_file", values.file_beside(desk.path), ""),
        host_key=may("timelock_host_key", values.host_key, None),
        cpus=need("timelock_cpus", values.count, 0),
        memory_bytes=need("timelock_memory", values.size, 0),
        gpus=may("timelock_gpus", gpus_of, nothing),
        management=may("timelock_management", values.networks, ()),
    )


def _check_names(host: str, variables: Variables, desk: Desk) -> None:
    """Note variables that are not known, and those of group all that a host or another group sets."""
    for name, value in variables.items():
        if not name.startswith("timelock_") or name in OF_HOST:
            continue
        if name not in OF_ALL:
            hint = did_you_mean(name, (*OF_HOST, *OF_ALL)) or f"; known are {', '.join((*OF_HOST, *OF_ALL))}"
            desk.note(host, f"{name}: unknown variable{hint}", value)
        else:
            desk.note(host, f"{name}: expected in group all only, found here", value)


def _check_unique(hosts: list[Host], desk: Desk) -> None:
    """Note GPUs and addresses that two hosts claim to have."""
    owners: dict[str, str] = {}
    for host in hosts:
        keys = [f"address {host.address}:{host.port}", *(f"GPU {gpu.uuid}" for gpu in host.gpus)]
        for key in keys:
            first = owners.setdefault(key, host.name)
            if first != host.name:
                desk.note(host.name, f"{key}: expected on one host only, found on {first} too")


def _shown(place: str) -> str:
    """Return a place relative to the working directory where it lies below it."""
    below = Path(place)
    return str(below.relative_to(Path.cwd())) if place and below.is_relative_to(Path.cwd()) else place


def _counted(hosts: list[str]) -> str:
    more = len(hosts) - 1
    return f"{hosts[0]} (and {more} more)" if more else hosts[0]
