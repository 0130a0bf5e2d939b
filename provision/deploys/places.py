"""Where Timelock keeps things on a host; every role names its paths through here.

Everything below STATE disappears with the last booking. It is not TIMELOCK_HOME of the control plane, which may share
the machine.
"""

from __future__ import annotations

import hashlib

STATE = "/var/lib/timelock-host"
BOOKINGS = f"{STATE}/bookings"
HOLDERS = f"{STATE}/holders"
BEFORE = f"{STATE}/before"
DATA = "/srv/timelock"
RUN = "/run/timelock"
CONFIG = "/etc/timelock"
UNITS = "/etc/systemd/system"


def booking_state(booking: str) -> str:
    """The booking's private directory: marker, keys."""
    return f"{BOOKINGS}/{booking}"


def booking_data(booking: str) -> str:
    """The data-root of the booking's engine."""
    return f"{DATA}/{booking}"


def engine_socket(booking: str) -> str:
    """The socket of the booking's engine."""
    return f"{RUN}/{booking}.sock"


def engine_unit(booking: str) -> str:
    """The unit of the booking's engine."""
    return f"timelock-docker@{booking}.service"


def pull_unit(booking: str, reference: str) -> str:
    """The transient unit that pulls an image in the background."""
    return f"timelock-pull-{booking}-{hashlib.sha256(reference.encode()).hexdigest()[:12]}.service"


def holder(group: str, booking: str) -> str:
    """The mark that says: this booking uses that group of shared items."""
    return f"{HOLDERS}/{escaped(group)}/{booking}"


def before(kind: str, name: str) -> str:
    """Where is remembered what was there before us."""
    return f"{BEFORE}/{kind}+{escaped(name)}"


def escaped(name: str) -> str:
    """Return `name` as one path component."""
    return name.strip("/").replace("/", "+").replace(" ", "_")
