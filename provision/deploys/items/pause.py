"""What a mesh stands on: WireGuard, in the kernel or as a program, and the container whose namespace all share."""

from __future__ import annotations

from dataclasses import dataclass

from provision.deploys.item import Change, Cleared, change
from provision.deploys.items.docker import asked, docker
from provision.deploys.items.packages import Packages


@dataclass(frozen=True, slots=True, kw_only=True)
class WireGuardProgram(Packages):
    """wireguard-go, on hosts whose kernel has no WireGuard."""

    names: tuple[str, ...] = ("wireguard-go",)
    provides: str = "wireguard"

    def probe(self) -> str:
        """Say whether the kernel or a program provides WireGuard."""
        return (
            "{ [ -e /sys/module/wireguard ] || modprobe -nq wireguard || command -v wireguard-go >/dev/null; }"
            " && echo provided"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Cleared):
    """The pause container. The mesh's unit makes it."""

    booking: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'container pause'."""
        return "container pause"

    def probe(self) -> str:
        """Print its id."""
        return asked(self.booking, "inspect -f '{{.Id}}' pause")

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove it, and with it the namespace and all that is in it; then the directory that wireguard-go has made."""
        text = f"timeout 20 {docker(self.booking)} rm -f -v pause >/dev/null\nrmdir /run/wireguard 2>/dev/null || :"
        return (change("no longer wanted", text),) if seen else ()
