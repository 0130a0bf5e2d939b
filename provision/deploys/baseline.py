"""Role 'baseline': what every booked host has: packages, kernel settings, time, and the booking's own user.

The user has a range of subordinate ids that nobody else has, so that root in a booking's container is nobody on the
host, and another nobody than in the next booking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from provision.deploys.item import Item, Told
from provision.deploys.items.files import File
from provision.deploys.items.packages import Packages
from provision.deploys.items.sysctls import Sysctl
from provision.deploys.items.users import SystemUser
from provision.deploys.places import booking_state
from provision.deploys.role import Role, Seen

GROUP = "baseline"
_SYSCTL_FILE = "/etc/sysctl.d/60-timelock.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock(Told):
    """Whether the host's time is kept by something. Told, not changed: time is the supplier's, or the hypervisor's."""

    shared: str = ""

    @property
    def label(self) -> str:
        """'clock'."""
        return "clock"

    def probe(self) -> str:
        """Print who keeps time, and 'yes' if they say that it is right; timedatectl would start a daemon for that."""
        return (
            "if systemctl is-active -q chrony; then echo chrony; chronyc -n tracking | grep -q 'Normal$' && echo yes\n"
            "elif systemctl is-active -q systemd-timesyncd; then echo systemd-timesyncd\n"
            "  [ -e /run/systemd/timesync/synchronized ] && echo yes\n"
            "else for unit in ntpsec ntp; do\n"
            "  systemctl is-active -q $unit && echo $unit && ntpq -c rv | grep -q sync_ntp && echo yes\n"
            "done; fi"
        )


class Baseline(Role):
    """Parameters: see the worker's contract; `sysctls` are set for as long as any booking is on the host."""

    user: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    subid_start: Annotated[int, Field(ge=65536, le=2**32 - 65537)]
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")], ...] = ()
    sysctls: dict[Annotated[str, Field(pattern=r"^[a-z0-9_./-]+$")], str] = Field(default_factory=dict)

    def items(self) -> tuple[Item, ...]:
        """Packages, settings now and at boot, clock, user."""
        packages = (Packages(names=tuple(sorted(self.packages)), shared=GROUP),) if self.packages else ()
        scratch = f"{booking_state(self.booking)}/accounts"
        user = SystemUser(name=self.user, subid_start=self.subid_start, scratch=scratch)
        return (*packages, *self._settings(), Clock(), user)

    def outputs(self, seen: Seen) -> dict[str, object]:
        """Whether time is kept, and by what."""
        keeper, _, synchronised = seen[Clock().label].partition("\n")
        return {"time_synchronised": synchronised == "yes", "time_keeper": keeper or "none"}

    def _settings(self) -> tuple[Item, ...]:
        if not self.sysctls:
            return ()
        lines = [f"-{key} = {value}" for key, value in sorted(self.sysctls.items())]
        content = "# Timelock, for as long as a booking is on this host\n" + "\n".join(lines) + "\n"
        return (
            *(Sysctl(key=key, value=value, optional=True, shared=GROUP) for key, value in sorted(self.sysctls.items())),
            File(path=_SYSCTL_FILE, content=content, shared=GROUP),
        )


ROLE = Baseline
