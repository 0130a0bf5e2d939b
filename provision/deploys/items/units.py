"""systemd units: ours, with their file, or the host's own that must run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from provision.deploys.item import Change, Command, change, quote, write
from provision.deploys.places import BEFORE, UNITS, before

# systemd reads a unit that it does not know when it is asked for it, and forgets one that nothing refers to. Reading
# all units anew costs a host a hundred times as much, so that is left for one that is known by a file that has gone.
_RELOAD_IF_STALE = '[ "$(systemctl show -p NeedDaemonReload --value {name})" = no ] || systemctl daemon-reload'
_RELOAD_IF_KNOWN = '[ -z "$(systemctl list-units --all --plain --no-legend {name})" ] || systemctl daemon-reload'
_SHOW = "ActiveState,UnitFileState,NeedDaemonReload,FragmentPath"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit with this file, enabled and active; restarted when its file, or an item of `follows`, changed.

    `reload` reloads instead. `timeout_seconds` is what start and stop may take each.
    """

    name: str
    content: str = field(repr=False)
    follows: tuple[str, ...] = ()
    enabled: bool = True
    active: bool = True
    reload: bool = False
    shared: str = ""
    timeout_seconds: int = 60

    @property
    def label(self) -> str:
        """'unit x.service'."""
        return f"unit {self.name}"

    @property
    def path(self) -> str:
        """Where the unit's file lies."""
        return f"{UNITS}/{self.name}"

    def probe(self) -> str:
        """Print the states that systemd knows, and the digest of the file."""
        return f"systemctl show -p {_SHOW} {quote(self.name)}; sha256sum < {quote(self.path)}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Write, reload, enable and start, as far as each is needed."""
        state = _parse(seen)
        name = quote(self.name)
        written = state.get("digest") != hashlib.sha256(self.content.encode()).hexdigest()
        reasons, texts = [], list[str]()
        if written:
            reasons.append("file differs" if "digest" in state else "absent")
        if self.enabled != (state.get("UnitFileState") == "enabled"):
            reasons.append("" if written else f"is {state.get('UnitFileState', 'unknown')}")
            quietly = "--no-reload " if written else ""
            texts.append(f"systemctl {quietly}{'enable' if self.enabled else 'disable'} {name}")
        if written or state.get("NeedDaemonReload") == "yes":
            reasons.append("" if written else "systemd has not read its file")
            texts.append(_RELOAD_IF_STALE.format(name=name))
        reason, verb = self._activity(state, written, changed)
        if verb:
            reasons.append(reason)
            texts.append(_act(verb, name))
        if not texts:
            return ()
        put = (write(self.path, self.content, mode=0o644),) if written else ()
        commands = (*put, Command(text="\n".join(texts), timeout_seconds=self.timeout_seconds))
        return (Change(reason=", ".join(filter(None, reasons)), commands=commands),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Stop and disable the unit, remove its file, and let systemd forget it."""
        state = _parse(seen)
        if "digest" not in state and state.get("ActiveState") in (None, "inactive"):
            return ()
        name = quote(self.name)
        text = (
            f"systemctl --no-reload disable {name} 2>/dev/null || :\n"
            f"systemctl stop {name} || :\n"
            f"rm -f {quote(self.path)} {quote(self.path)}.timelock\n"
            f"systemctl reset-failed {name} 2>/dev/null || :\n"
            f"{_RELOAD_IF_KNOWN.format(name=name)}"
        )
        return (change("no longer wanted", text, timeout_seconds=self.timeout_seconds),)

    def _activity(self, state: dict[str, str], written: bool, changed: frozenset[str]) -> tuple[str, str]:
        """Return reason and verb of the one systemctl call that makes the unit's activity right."""
        running = state.get("ActiveState") == "active"
        if not self.active:
            return ("should be stopped", "stop") if running else ("", "")
        if not running:
            return (f"is {state.get('ActiveState', 'unknown')}", "restart")
        followed = [label for label in self.follows if label in changed]
        if not (written or followed):
            return ("", "")
        return (f"{followed[0]} changes" if followed else "", "reload" if self.reload and not written else "restart")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A unit of the host's own that must run. It is started, never configured; stopped in the end if we started it."""

    name: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'unit x.service'."""
        return f"unit {self.name}"

    def probe(self) -> str:
        """Print whether it runs, and whether we started it."""
        return f"systemctl is-active {quote(self.name)}; [ -e {self._mark} ] && echo started"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Start it, and remember that."""
        state = seen.partition("\n")[0]
        if state == "active":
            return ()
        text = f"mkdir -p -m 700 {BEFORE} && : > {self._mark}\n{_act('start', quote(self.name))}"
        return (change(f"is {state or 'unknown'}", text),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Stop it if it did not run before us."""
        if not seen.endswith("started"):
            return ()
        return (change("no longer wanted", f"systemctl stop {quote(self.name)} && rm -f {self._mark}"),)

    @property
    def _mark(self) -> str:
        return quote(before("unit", self.name))


def _act(verb: str, name: str) -> str:
    """Do `verb`; when it fails, show what the unit said instead of systemd's advice to look it up."""
    return (
        f"systemctl {verb} {name} 2>/dev/null || {{ journalctl -q -n 20 -o cat --no-pager -u {name} >&2;"
        f" systemctl show -p Result {name} >&2; exit 1; }}"
    )


def _parse(seen: str) -> dict[str, str]:
    """Split `Key=value` lines; the digest line has no sign in it."""
    state = {}
    for line in seen.splitlines():
        key, sign, value = line.partition("=")
        if sign:
            state[key] = value
        elif len(digest := line.split()[0]) == 64:
            state["digest"] = digest
    return state
