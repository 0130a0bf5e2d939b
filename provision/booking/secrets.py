"""The secrets of a booking: made once, in files that only their owner reads, and never printed.

Each is written whole under another name and renamed, so that a crash leaves either none or a good one.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from provision.home import BookingPlace

SECRET_BYTES = 32


def ensure_secrets(place: BookingPlace) -> None:
    """Make the passphrase of the stack and the master of the mesh's preshared keys, where they are missing."""
    for path in (place.passphrase, place.mesh_secret):
        if not path.exists():
            write_private(path, secrets.token_urlsafe(SECRET_BYTES))


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` with mode 0600, durably and all at once; whoever calls is the only one to write there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
