"""Inventory files → variables of each host, as Ansible itself would merge them. The only importer of Ansible.

Import it late: Ansible takes a third of a second to load. What the variables mean is said in variables.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible._internal._datatag._tags import Origin
from ansible._internal._display_utils import DeferredWarningContext
from ansible.errors import AnsibleError
from ansible.inventory.helpers import get_group_vars, sort_groups
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import script
from ansible.plugins.loader import inventory_loader
from ansible.plugins.vars import host_group_vars
from ansible.template import Templar
from ansible.utils.vars import combine_vars
from ansible.vars.plugins import get_vars_from_inventory_sources

from provision.supply import limited
from provision.supply.templated import is_template, refers_only
from provision.supply.variables import OF_ALL, Reading

PLUGIN_OF = {".yaml": "yaml", ".yml": "yaml", ".json": "yaml", ".ini": "ini", ".toml": "toml"}
STATIC = {"yaml", "ini", "toml"}
PREFIXES = ("timelock_", "ansible_")

_SERIOUS = ("Failed to parse", "Unable to parse", "Skipping", "No inventory")


def read(path: Path) -> Reading:
    """Return the variables of all hosts in an inventory (a file, a script or a folder of these)."""
    script.subprocess = limited  # Ansible waits for a script without a limit, and keeps what files it found last time
    host_group_vars.FOUND.clear()
    host_group_vars.NAK.clear()
    with DeferredWarningContext(variables={}) as warnings:
        manager = _Manager(_Loader(), sources=[str(path.absolute())])
        problems = [_told(warning.event, path) for warning in warnings.get_warnings() if _serious(warning.event)][:1]
        merge = _Merge(manager, path)
        hosts = tuple(merge.hosts(problems))
    return Reading(
        shared=merge.shared,
        hosts=hosts,
        problems=tuple(dict.fromkeys(problems)),
        lasting=manager.used <= STATIC and merge.lasting and constants.VARIABLE_PLUGINS_ENABLED == ["host_group_vars"],
        where=_where,
    )


class _Loader(DataLoader):  # type: ignore[misc]
    """Ansible's loader without its copy of everything that was parsed, which nobody changes here."""

    def load_from_file(self, file_name: str, *args: Any, **kwargs: Any) -> Any:
        return super().load_from_file(file_name, *args, **{**kwargs, "unsafe": True})


class _Manager(InventoryManager):  # type: ignore[misc]
    """Ansible's manager, which tries the plugin that a file's suffix names before all others."""

    def __init__(self, loader: DataLoader, sources: list[str]) -> None:
        self.used: set[str] = set()
        self._last = ""
        super().__init__(loader, sources=sources)

    def parse_source(self, source: str, cache: bool = False) -> Any:
        """Parse one source, and note which plugin could."""
        parsed = super().parse_source(source, cache=cache)
        self.used |= {self._last} if parsed else set()
        return parsed

    def _fetch_inventory_plugins(self) -> Iterator[Any]:
        source = Path(str(self._inventory.current_source))
        first = None if os.access(source, os.X_OK) else PLUGIN_OF.get(source.suffix)
        for name in sorted(constants.INVENTORY_ENABLED, key=lambda name: name != first):
            plugin = inventory_loader.get(name)
            if plugin:
                self._last = name.rpartition(".")[2]
                yield plugin


class _Merge:
    """Merges the variables of groups and hosts in Ansible's order of precedence, each chain of groups once."""

    def __init__(self, manager: _Manager, path: Path) -> None:
        self._manager = manager
        self._path = path
        self._of_groups: dict[tuple[str, ...], dict[str, Any]] = {}
        self.lasting = True
        self.shared: Mapping[str, object] = {}

    def hosts(self, problems: list[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
        """Yield each host's name and variables, and set `shared`; what cannot be merged is a problem."""
        of_all: dict[str, Any] = {}
        try:
            of_all = self._groups([self._manager.groups["all"]])
            self.shared = self._rendered(of_all, {name: of_all[name] for name in OF_ALL if name in of_all})
        except AnsibleError as error:
            problems.append(_failed(error, self._path))
        for host in self._manager.hosts.values():
            try:
                variables = self._host(host)
                ours = {str(name): value for name, value in variables.items() if name.startswith(PREFIXES)}
                yield str(host.name), self._rendered(variables, _without(ours, of_all))
            except AnsibleError as error:
                problems.append(_failed(error, self._path))

    def _host(self, host: Any) -> dict[str, Any]:
        variables = combine_vars(self._groups(host.get_groups()), host.get_vars())
        merged: dict[str, Any] = combine_vars(variables, self._from_files([host]))
        return merged

    def _groups(self, groups: list[Any]) -> dict[str, Any]:
        key = tuple(sorted(str(group.name) for group in groups))
        if key not in self._of_groups:
            of_all = [group for group in groups if group.name == "all"]
            rest = sort_groups(group for group in groups if group.name != "all")
            steps: dict[str, Callable[[], Any]] = {
                "all_inventory": lambda: get_group_vars(of_all),
                "groups_inventory": lambda: get_group_vars(rest),
                "all_plugins_inventory": lambda: self._from_files(of_all),
                "groups_plugins_inventory": lambda: self._from_files(rest),
            }
            merged: dict[str, Any] = {}
            for name in constants.VARIABLE_PRECEDENCE:
                merged = combine_vars(merged, steps[name]() if name in steps else {})
            self._of_groups[key] = merged
        return self._of_groups[key]

    def _from_files(self, entities: list[Any]) -> Any:
        return get_vars_from_inventory_sources(self._manager._loader, self._manager._sources, entities, "task")

    def _rendered(self, variables: dict[str, Any], ours: dict[str, Any]) -> Mapping[str, object]:
        """Render the templates among our variables, with the help of all others."""
        templated = [name for name, value in ours.items() if is_template(value)]
        if templated:
            self.lasting = self.lasting and all(refers_only(value) for value in variables.values())
            templar = Templar(self._manager._loader, variables)
            ours |= {name: templar.template(ours[name]) for name in templated}
        return ours


def _without(ours: dict[str, Any], of_all: dict[str, Any]) -> dict[str, Any]:
    """Leave out what group all says for all hosts together, so that what remains of it was set elsewhere."""
    common = [name for name in OF_ALL if name in ours]
    same = {name for name in common if ours[name] is of_all.get(name) or ours[name] == of_all.get(name)}
    return {name: value for name, value in ours.items() if name not in same}


def _where(value: object) -> str:
    """Return 'path:line' of a value, '' where Ansible does not know."""
    origin = value if isinstance(value, Origin) else Origin.get_tag(value)
    if origin is None or not origin.path:
        return ""
    return f"{origin.path}:{origin.line_num}" if origin.line_num else str(origin.path)


def _serious(event: Any) -> bool:
    return str(event.msg).startswith(_SERIOUS)


def _told(event: Any, path: Path) -> str:
    """Return an event of Ansible's with its causes, on one line, after the place where the first cause lies."""
    events = [event]
    while events[-1].chain:
        events.append(events[-1].chain.event)
    contexts = " ".join(str(one.formatted_source_context) for one in events if one.formatted_source_context)
    place = re.search(r"Origin: (/[^\n]+?)(?::\d+)?\n", contexts)
    return f"{place[1] if place else path}: {_one_line(' '.join(str(one.msg) for one in events))}"


def _failed(error: AnsibleError, path: Path) -> str:
    """Return an error of Ansible's on one line, after the place of what it was raised for."""
    cause: BaseException | None = error
    while cause is not None and not _where(getattr(cause, "obj", None)):
        cause = cause.__cause__ or cause.__context__
    return f"{_where(getattr(cause, 'obj', None)) or path}: {_one_line(str(error))}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
