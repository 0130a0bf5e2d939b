"""Where Timelock keeps things: one object names every path, so that no other module spells one.

Knows names only; it creates nothing but a private directory on demand.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.errors import MachineCannot

UNFIT = '%?#"\n'
"""Characters that mean something in the URL of a ledger or backend, or in SSH's configuration."""
DEFAULT_ROOT = Path("/var/lib/timelock")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingPlace:
    """The private directory of one booking."""

    root: Path

    @property
    def request(self) -> Path:
        """The request as it was accepted."""
        return self.root / "request.yaml"

    @property
    def plan(self) -> Path:
        """The Plan that is applied, canonical bytes."""
        return self.root / "plan.json"

    @property
    def inventory(self) -> Path:
        """Names the inventory that the booking was matched against, for replacements."""
        return self.root / "inventory"

    @property
    def registry_ca(self) -> Path:
        """The authority that signed the registry's certificate, if not a public one; copied at acceptance."""
        return self.root / "registry-ca.pem"

    @property
    def pause_image(self) -> Path:
        """The pause container's image by digest, resolved at acceptance."""
        return self.root / "pause-image"

    @property
    def mesh_indices(self) -> Path:
        """The number of each host in the mesh."""
        return self.root / "mesh-indices.json"

    @property
    def known_hosts(self) -> Path:
        """The host keys pinned for this booking."""
        return self.root / "known_hosts"

    @property
    def passphrase(self) -> Path:
        """The passphrase of the Pulumi stack (mode 0600)."""
        return self.root / "passphrase"

    @property
    def mesh_secret(self) -> Path:
        """The master from which preshared keys are derived (mode 0600)."""
        return self.root / "mesh.secret"

    @property
    def journal(self) -> Path:
        """What workers said, one JSON line each."""
        return self.root / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the operation that is at work on the booking."""
        return self.root / "lock"

    @property
    def ssh_config(self) -> Path:
        """OpenSSH client configuration for `timelock ssh`."""
        return self.root / "ssh_config"

    @property
    def pulumi(self) -> Path:
        """Work directory of the Pulumi program."""
        return self.root / "pulumi"

    def make(self) -> BookingPlace:
        """Create the directory, readable by its owner only, and return self."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)
        return self

    def forget_secrets(self) -> None:
        """Remove what only a live booking needs, and drafts of it; request, plan and journal stay, as history."""
        for path in (self.passphrase, self.mesh_secret, self.known_hosts, self.ssh_config, *self.root.glob(".*.draft")):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.pulumi, ignore_errors=True)

    def clear(self) -> None:
        """Remove what an earlier booking of this name left; the lock stays, since its holder is who clears."""
        self.forget_secrets()
        for path in (
            self.request,
            self.plan,
            self.inventory,
            self.journal,
            self.registry_ca,
            self.pause_image,
            self.mesh_indices,
        ):
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The state directory (`root`) and the directory of what can be made again (`cache`)."""

    root: Path
    cache: Path
    ledger_url: str
    pulumi_backend_url: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Home:
        """Read TIMELOCK_HOME, TIMELOCK_CACHE, TIMELOCK_LEDGER and TIMELOCK_BACKEND.

        Each has a default below the first; the last two are URLs of a database and of Pulumi's state.
        """
        root = Path(environ.get("TIMELOCK_HOME") or DEFAULT_ROOT).absolute()
        if odd := sorted(set(str(root)) & set(UNFIT)):
            raise MachineCannot(
                f"TIMELOCK_HOME: expected a path that URLs and SSH take as it is, found {''.join(odd)!r} in {root}",
                next_step="choose another directory",
            )
        cache = Path(environ.get("TIMELOCK_CACHE") or root / "cache").absolute()
        return cls(
            root=root,
            cache=cache,
            ledger_url=environ.get("TIMELOCK_LEDGER") or f"sqlite:///{root}/ledger.sqlite",
            pulumi_backend_url=environ.get("TIMELOCK_BACKEND") or f"file://{root}/pulumi",
        )

    @property
    def labs(self) -> Path:
        """One directory a lab."""
        return self.root / "labs"

    def lab(self, name: str) -> Path:
        """The directory of the lab called `name`."""
        return self.labs / name

    def booking(self, name: str) -> BookingPlace:
        """The directory of the booking called `name`."""
        return BookingPlace(root=self.root / "bookings" / name)

    @property
    def pulumi_home(self) -> Path:
        """Pulumi's own home, kept apart from the user's."""
        return self.root / "pulumi-home"

    @property
    def serve(self) -> Path:
        """Pid, log and socket of `timelock serve`."""
        return self.root / "serve"

    @property
    def images(self) -> Path:
        """Host and container images, content-addressed."""
        return self.cache / "images"

    @property
    def tools(self) -> Path:
        """Tools that were built or fetched, by version."""
        return self.cache / "tools"
