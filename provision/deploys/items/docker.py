"""What an engine of a booking's own leaves on a host: its data-root, containers, namespaces, and pulls under way."""

from __future__ import annotations

from dataclasses import dataclass

from provision.deploys.item import Change, Cleared, change, quote
from provision.deploys.places import engine_socket, pull_unit

# Docker 20.10 keeps the manifests of what it pulled in containerd, under leases. The folders of the content store are
# made with the first content, so they go with the last. What nothing refers to containerd collects a while later, or at
# once when a lease is removed in step with that.
_EMPTY = """\
ctr namespaces ls -q | grep -qxF {name} || exit 0
for kind in tasks containers images content; do
  ctr -n {name} $kind ls -q | xargs -r ctr -n {name} $kind rm >/dev/null
done
{{ ctr -n {name} leases ls -q; ctr -n {name} leases create; }} | xargs ctr -n {name} leases rm --sync >/dev/null
ctr namespaces rm {name} >/dev/null
store=/var/lib/containerd/io.containerd.content.v1.content/blobs
rmdir $store/sha256 $store 2>/dev/null || :
tasks=containerd/io.containerd.runtime.v2.task/{name}
rmdir /var/lib/$tasks /run/$tasks 2>/dev/null || :"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRoot:
    """The directory that holds all that the booking's containers write."""

    path: str
    run: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'data-root /path'."""
        return f"data-root {self.path}"

    def probe(self) -> str:
        """Print the mode, and of the engine's leftovers in /run that they are there."""
        return f"stat -c '%a %U' {quote(self.path)}; [ -n \"$(ls -d {self._leftovers})\" ] && echo run"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Make it, for root only; the engine then lets the remapped root pass through, as its group."""
        head = seen.partition("\n")[0]
        if head in ("700 root", "710 root", "711 root"):
            return ()
        path = quote(self.path)
        reason = "absent" if head in ("", "run") else f"is {head}, should be 710 root"
        return (change(reason, f"mkdir -p {path} && chown root {path} && chmod 710 {path}"),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Unmount what is mounted below, then remove everything."""
        if not seen:
            return ()
        path, run = quote(self.path), quote(self.run)
        below = f"-v a={path}/ -v b={run}/ -v c={run}. 'index($2, a) == 1 || index($2, b) == 1 || index($2, c) == 1"
        mounts = f"awk {below} {{print $2}}' /proc/mounts"
        text = f"{mounts} | sort -r | xargs -r -n 1 umount\nrm -rf --one-file-system {path} {self._leftovers}"
        return (change("no longer wanted", text, timeout_seconds=300),)

    @property
    def _leftovers(self) -> str:
        """The engine's exec-root, and the one beside it that it makes for remapped ids: RUN.UID.GID."""
        return f"{quote(self.run)} {quote(self.run)}.[0-9]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers(Cleared):
    """Whatever still runs in the engine when it is to go. Live-restore would leave it running otherwise."""

    booking: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'containers'."""
        return "containers"

    def probe(self) -> str:
        """Print the ids of all containers."""
        return asked(self.booking, "ps -aq")

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove them all."""
        if not seen:
            return ()
        engine = docker(self.booking)
        return (change("left over", f"{engine} ps -aq | xargs -r {engine} rm -f -v", timeout_seconds=120),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces(Cleared):
    """The booking's namespaces in containerd, made by the engine; removed after it."""

    booking: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'namespaces of containerd'."""
        return "namespaces of containerd"

    def probe(self) -> str:
        """Print those that are there."""
        return f"ctr namespaces ls -q | grep -xF -e {quote(self._names[0])} -e {quote(self._names[1])}"

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Empty and remove them; containerd then drops what nobody else refers to."""
        if not seen:
            return ()
        return tuple(change("left over", _EMPTY.format(name=quote(name))) for name in seen.split())

    @property
    def _names(self) -> tuple[str, str]:
        return namespaces(self.booking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefetch:
    """An image is there, or on its way: a background unit pulls it. How that ends is the image role's affair."""

    booking: str
    reference: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'pull name@digest'."""
        return f"pull {self.reference}"

    def probe(self) -> str:
        """Print the state of the unit; when it has ended, 'there' if the image is."""
        state = f"systemctl show -p ActiveState --value {quote(self._unit)}"
        there = asked(self.booking, f"image inspect -f there {quote(self.reference)}")
        return f"state=$({state}); case $state in active|activating) ;; *) {there} && exit ;; esac; echo $state"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Start the pull and go on."""
        if seen in ("there", "active", "activating", "failed"):
            return ()
        text = (
            f"systemctl is-active -q {quote(self._unit)} || systemd-run --quiet --unit {quote(self._unit)}"
            f" --description {quote(f'Timelock: pull of booking {self.booking}')}"
            f" {docker(self.booking)} pull --quiet {quote(self.reference)}"
        )
        return (change("absent", text),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Stop the pull; the image goes with the data-root."""
        if seen in ("", "there", "inactive"):
            return ()
        unit = quote(self._unit)
        return (
            change("no longer wanted", f"systemctl stop {unit} || :\nsystemctl reset-failed {unit} 2>/dev/null || :"),
        )

    @property
    def _unit(self) -> str:
        return pull_unit(self.booking, self.reference)


def docker(booking: str) -> str:
    """Return the command that speaks to the booking's engine."""
    return f"docker -H {quote('unix://' + engine_socket(booking))}"


def asked(booking: str, words: str) -> str:
    """Return shell text that asks the engine something; where there is no engine, it fails without starting docker."""
    return f"[ -S {quote(engine_socket(booking))} ] && timeout 20 {docker(booking)} {words}"


def namespaces(booking: str) -> tuple[str, str]:
    """Return the booking's namespaces of containerd: containers, plugins."""
    return f"timelock-{booking}", f"timelock-{booking}-plugins"
