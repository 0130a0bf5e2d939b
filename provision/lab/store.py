"""The one store of container images behind all registries of this machine's labs.

It is written to only here: by a registry in a network namespace of its own that lives as long as one push, so that
what serves suppliers' hosts need not be able to write. It deletes nothing but what broken pushes left.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from provision.errors import MachineCannot
from provision.lab import ca
from provision.lab.layout import only_one
from provision.lab.tool import CONTAINED, cannot, require, run

PUSH_SECONDS = 600.0
WRITER = "127.0.0.1:5000"

# $0 configuration, $1 directory of the authority's certificate, $2 from, $3 to.
_PUSH = """
ip link set lo up && { docker-registry serve "$0" >"$0.log" 2>&1 & }
for attempt in $(seq 500); do (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null && break; sleep 0.02; done
skopeo --insecure-policy copy --quiet --preserve-digests --dest-cert-dir "$1" "$2" "$3" && exit
tail -n 3 "$0.log" >&2; exit 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where images are kept, in the form of Debian's docker-registry."""

    root: Path

    def make(self) -> None:
        """Create the directory, readable by its owner only."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def configuration(self, address: str, pair: ca.Pair, *, read_only: bool) -> str:
        """The configuration of a registry that serves this store; JSON is YAML."""
        storage = {"filesystem": {"rootdirectory": str(self.root)}, "maintenance": {"readonly": {"enabled": read_only}}}
        tls = {"certificate": str(pair.certificate), "key": str(pair.key), "minimumtls": "tls1.2"}
        log = {"level": "warn", "accesslog": {"disabled": True}}
        return json.dumps({"version": 0.1, "log": log, "storage": storage, "http": {"addr": address, "tls": tls}})

    def push(self, layout: Path, name: str, *, pair: ca.Pair, ca_file: Path, work: Path) -> None:
        """Copy the image of an OCI layout into the store as `name` (repository:tag); raises MachineCannot.

        `pair` must be a certificate for 127.0.0.1 by `ca_file`; `work` is a private directory for the writer's files.
        """
        require("skopeo", "docker-registry", "bash", "ip")
        try:
            self.make()
            with only_one(self.root / "lock"):
                self._clear()
                settings = work / "push.yml"
                settings.write_text(self.configuration(WRITER, pair, read_only=False))
                self._push(settings, ca_file.parent, f"oci:{layout}:latest", f"docker://{WRITER}/{name}")
        except OSError as error:
            raise cannot(f"image store {self.root}", error) from error

    def _push(self, settings: Path, certificates: Path, source: str, target: str) -> None:
        words = ("unshare", "--net", "bash", "-c", _PUSH, settings, certificates, source, target)
        try:
            run([*CONTAINED, *words], timeout_seconds=PUSH_SECONDS)
        except MachineCannot as error:
            raise MachineCannot(f"push to {self.root}: {error.message}", next_step=error.next_step) from error

    def _clear(self) -> None:
        """Remove what pushes that were killed had not finished."""
        for uploads in (self.root / "docker/registry/v2/repositories").glob("**/_uploads"):
            shutil.rmtree(uploads)
