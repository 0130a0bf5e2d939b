"""The one store of container images behind all registries of this machine's labs.

It is written to only here: by a registry in a network namespace of its own that lives as long as one push, so that
what serves suppliers' hosts need not be able to write. It deletes nothing but what broken pushes left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from provision.errors import MachineCannot
from provision.lab import ca
from provision.lab.tool import CONTAINED, cannot, require, run
from provision.lab.turn import only_one

PUSH_SECONDS = 600.0
WRITER = "127.0.0.1:5000"

# $0 configuration, $1 directory of the authority's certificate, $2 from, $3 to.
_PUSH = """
ip link set lo up && { docker-registry serve "$0" >"$0.log" 2>&1 & }
for attempt in $(seq 500); do (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null && break; sleep 0.02; done
skopeo --insecure-policy copy --quiet --preserve-digests --dest-cert-dir "$1" "$2" "$3" && exit
tail -n 1 "$0.log" >&2; exit 1
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

    def push(self, layout: Path, name: str, is_there: Callable[[], bool], *, pair: ca.Pair, ca_file: Path) -> None:
        """Copy the image of an OCI layout into the store as `name` (repository:tag), unless it `is_there`.

        `pair` must be a certificate for 127.0.0.1 by `ca_file`; the writer's files go beside it. Raises MachineCannot.
        """
        require("skopeo", "docker-registry", "bash", "ip")
        try:
            self.make()
            with only_one(self.root / "lock"):
                self._mend()
                if not is_there():
                    self._unfinished.write_text(name.partition(":")[0])
                    self._push(layout, name, pair, ca_file)
                    self._unfinished.unlink()
        except OSError as error:
            raise cannot(f"image store {self.root}", error) from error

    @property
    def _unfinished(self) -> Path:
        """Names the repository that is being pushed to; still there afterwards, it tells of a push that was killed."""
        return self.root / "unfinished"

    def _mend(self) -> None:
        """Forget the repository of a push that did not end: its links may be half written, its blobs are whole."""
        if self._unfinished.exists():
            name = self._unfinished.read_text()
            if name:
                shutil.rmtree(self.root / "docker/registry/v2/repositories" / name, ignore_errors=True)
            self._unfinished.unlink()

    def _push(self, layout: Path, name: str, pair: ca.Pair, ca_file: Path) -> None:
        settings = pair.certificate.with_name("push.yml")
        settings.write_text(self.configuration(WRITER, pair, read_only=False))
        copy = (settings, ca_file.parent, f"oci:{layout}:latest", f"docker://{WRITER}/{name}")
        try:
            run([*CONTAINED, "unshare", "--net", "bash", "-c", _PUSH, *copy], timeout_seconds=PUSH_SECONDS)
        except MachineCannot as error:
            raise MachineCannot(
                f"image store {self.root}: push of {name}: {error}",
                next_step=f"{error.next_step}; if it stays so, rm -r {self.root}: it is filled again",
            ) from error
