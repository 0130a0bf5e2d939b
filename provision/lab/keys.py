"""Makes SSH key pairs whole: a pair whose private half is in its place is finished, whatever was killed when."""

from __future__ import annotations

from pathlib import Path

from provision.lab.tool import run

LIMIT_SECONDS = 60.0


def make_key_pair(private: Path, comment: str) -> None:
    """Make an ed25519 pair without passphrase, mode 0600, unless it is there; raises MachineCannot."""
    public = private.with_suffix(".pub")
    if private.exists() and public.exists():
        return
    private.parent.mkdir(parents=True, exist_ok=True)
    partial = private.with_name(f".new_{private.name}")
    for path in (partial, partial.with_suffix(".pub")):
        path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", partial], timeout_seconds=LIMIT_SECONDS)
    partial.with_suffix(".pub").rename(public)
    partial.rename(private)
