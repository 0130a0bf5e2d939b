"""The registry of one lab: Debian's docker-registry on the controller's leg, over TLS with the lab's own authority.

It serves the store read-only, so that no supplier's host can change an image for others; pushes go by `store`.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import http.client
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from provision.booking import image
from provision.errors import MachineCannot
from provision.lab import ca
from provision.lab.daemon import Daemon
from provision.lab.layout import manifest_digest
from provision.lab.store import Store
from provision.lab.tool import cannot, require
from provision.lab.turn import only_one

START_SECONDS = 20.0
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.02
LOOPBACK = "127.0.0.1"

# It faces suppliers' hosts: root it may be, but without any of root's powers.
_POWERLESS = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The registry of one lab: the lab's directory, the address it serves on, the store it shares with other labs."""

    place: Path
    address: str
    storage: Path
    port: int = 5000

    @property
    def authority(self) -> str:
        """What stands before the first slash of an image served here."""
        return f"{self.address}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate by which hosts know the registry."""
        return self.place / "ca" / "ca.crt"

    def start(self) -> None:
        """Start it unless it serves already, and wait until it answers; raises MachineCannot."""
        require("docker-registry", "setpriv")
        try:
            self._own.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._store.make()
            with only_one(self._own / "lock"):
                if self._prepare() or not self.alive():
                    self._daemon.stop()
                    self._daemon.start([*_POWERLESS, "docker-registry", "serve", self._settings])
                    self._await()
        except OSError as error:
            raise cannot(f"registry {self.authority}", error) from error

    def alive(self) -> bool:
        """Whether its process runs and answers with a certificate of this lab."""
        return self._daemon.pid is not None and self._problem() is None

    def stop(self) -> None:
        """Stop it, if it runs and is ours; raises MachineCannot if it will not end."""
        self._daemon.stop()

    def push(self, layout: Path, reference: str) -> str:
        """Put the image of an OCI layout into the store under `repository:tag`; returns the manifest's digest.

        Does nothing if it is there. Raises MachineCannot.
        """
        wanted = image.parse(reference)
        expected = manifest_digest(layout)
        try:
            self._own.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._certify()
        except OSError as error:
            raise cannot(f"registry {self.authority}", error) from error
        name = f"{wanted.repository}:{wanted.version}"
        is_there = functools.partial(self._serves, wanted, expected)
        self._store.push(layout, name, is_there, pair=self._pair, ca_file=self.ca_file)
        return expected

    @property
    def _own(self) -> Path:
        return self.place / "registry"

    @property
    def _settings(self) -> Path:
        return self._own / "serve.yml"

    @property
    def _pair(self) -> ca.Pair:
        return ca.Pair(certificate=self._own / "server.crt", key=self._own / "server.key")

    @property
    def _daemon(self) -> Daemon:
        return Daemon(pid_file=self._own / "pid", log=self._own / "log")

    @property
    def _store(self) -> Store:
        return Store(root=self.storage)

    def _serves(self, wanted: image.Reference, digest: str) -> bool:
        try:
            return self.alive() and image.manifest_digest(self.authority, wanted, self.ca_file) == digest
        except MachineCannot:  # what it cannot read is pushed again
            return False

    def _prepare(self) -> bool:
        """Write certificate and settings; returns whether either is new, so that a running registry knows neither."""
        new_certificate = self._certify()
        wanted = self._store.configuration(self.authority, self._pair, read_only=True)
        if not new_certificate and self._settings.exists() and self._settings.read_text() == wanted:
            return False
        self._daemon.stop()
        self._settings.write_text(wanted)
        return True

    def _certify(self) -> bool:
        now = datetime.datetime.now(datetime.UTC)
        issuer = ca.authority(self.place / "ca", name=self.place.name, now=now)
        return ca.server(issuer, self._pair, addresses=(self.address, LOOPBACK), now=now)

    def _await(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while problem := self._problem():
            if self._daemon.pid is None:
                raise self._not_started(self._daemon.last_words())
            if time.monotonic() > deadline:
                self._daemon.stop()
                raise self._not_started(f"no answer within {START_SECONDS:.0f} s: {problem}")
            time.sleep(POLL_SECONDS)

    def _problem(self) -> str | None:
        """None if the registry answers; else why not."""
        try:
            trust = ssl.create_default_context(cafile=str(self.ca_file))
            connection = http.client.HTTPSConnection(self.address, self.port, timeout=ANSWER_SECONDS, context=trust)
            with contextlib.closing(connection):
                connection.request("GET", "/v2/")
                status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"{error}"
        return None if status == http.client.OK else f"status {status}"

    def _not_started(self, said: str) -> MachineCannot:
        if "address already in use" in said:
            return MachineCannot(
                f"registry {self.authority}: expected a free port, found it in use by another process",
                next_step=f"find it with `ss -ltnp 'sport = :{self.port}'` and end it",
            )
        if "cannot assign requested address" in said:
            return MachineCannot(
                f"registry: expected this machine to have the address {self.address}, it has not",
                next_step="bring the lab's network up first (`timelock lab up`)",
            )
        return MachineCannot(
            f"registry {self.authority}: expected it to start:\n{said}", next_step=f"read {self._daemon.log}"
        )
