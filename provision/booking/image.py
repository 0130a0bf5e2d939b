"""Turns an image's tag into its digest, once, when a booking is accepted.

Asks the registry with one HTTPS HEAD; it pulls nothing and trusts no tag afterwards.
"""

from __future__ import annotations

import http.client
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from provision.errors import InvalidInput, MachineCannot

TIMEOUT_SECONDS = 10.0
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image as somebody wrote it: `registry/repository:tag` or `registry/repository@digest`."""

    registry: str | None
    repository: str
    version: str

    @property
    def by_digest(self) -> bool:
        """Whether the version is a digest, not a tag."""
        return _DIGEST.fullmatch(self.version) is not None


def resolve(reference: str, registry_address: str | None, ca_file: Path | None) -> str:
    """Give `registry/repository@sha256:…` for a reference; one without a registry means `registry_address`.

    `ca_file` is what that registry's certificate is checked with (None: the machine's own authorities).
    Raises InvalidInput for a reference that is malformed or that the registry does not have, MachineCannot where the
    registry cannot be asked.
    """
    wanted = parse(reference)
    registry = wanted.registry or registry_address
    if registry is None:
        raise InvalidInput(
            (f"image: expected a registry in {reference!r}, as the inventory names none",),
            next_step="write registry/repository:tag, or set timelock_registry in the inventory",
        )
    digest = manifest_digest(registry, wanted, ca_file if registry == registry_address else None)
    if digest is None:
        raise InvalidInput(
            (f"image: expected {wanted.repository} {wanted.version} in the registry {registry}, found none there",),
            next_step="check the spelling, or push the image there first",
        )
    return f"{registry}/{wanted.repository}@{digest}"


def parse(text: str) -> Reference:
    """Read a reference; raises InvalidInput."""
    rest, at, digest = text.partition("@")
    first, slash, remainder = rest.partition("/")
    registry = first if slash and ("." in first or ":" in first or first == "localhost") else None
    path = remainder if registry is not None else rest
    repository, _, tag = path.partition(":")
    version = digest if at else tag
    problems = [
        *(
            []
            if registry is None or _REGISTRY.fullmatch(registry)
            else [f"a registry as host or host:port, found {registry!r}"]
        ),
        *([] if _REPOSITORY.fullmatch(repository) else [f"a repository in lower case, found {repository!r}"]),
        *(
            []
            if not at or _DIGEST.fullmatch(digest)
            else [f"a digest as sha256: and 64 hexadecimal digits, found {digest!r}"]
        ),
        *(
            []
            if at or _TAG.fullmatch(tag)
            else [f"a tag or a digest, found {tag!r}" if tag else "a tag or a digest, found none"]
        ),
    ]
    if problems:
        raise InvalidInput(
            tuple(f"image: {text!r}: expected {problem}" for problem in problems),
            next_step="write it as timelock/ray:2.60-py311",
        )
    return Reference(registry=registry, repository=repository, version=version)


def manifest_digest(registry: str, wanted: Reference, ca_file: Path | None) -> str | None:
    """Ask `registry` for the digest of a manifest; None if it does not have it. Raises MachineCannot."""
    status, digest = _ask(registry, f"/v2/{wanted.repository}/manifests/{wanted.version}", ca_file)
    if status == http.client.NOT_FOUND:
        return None
    if status != http.client.OK or not _DIGEST.fullmatch(digest):
        raise MachineCannot(
            f"registry {registry}: {wanted.repository} {wanted.version}: expected status 200 and a digest, "
            f"found {status} {digest or 'without one'}",
            next_step="the registry must be readable without a login and name digests (Docker-Content-Digest)",
        )
    if wanted.by_digest and digest != wanted.version:
        raise MachineCannot(
            f"registry {registry}: expected {wanted.version}, found that it answers with {digest}",
            next_step="do not use this registry",
        )
    return digest


def _ask(registry: str, path: str, ca_file: Path | None) -> tuple[int, str]:
    """One HEAD: status and digest; raises MachineCannot."""
    signer = ca_file or "an authority this machine knows"
    try:
        return _head(registry, path, _trust(ca_file))
    except ssl.SSLCertVerificationError as error:
        raise MachineCannot(
            f"registry {registry}: expected a certificate signed by {signer}, found: {error.verify_message}",
            next_step="check timelock_registry_ca_file in the inventory",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        found = f"none within {TIMEOUT_SECONDS:.0f} s" if isinstance(error, TimeoutError) else f"{error}"
        raise MachineCannot(
            f"registry {registry}: expected an answer over HTTPS, found: {found or type(error).__name__}",
            next_step=f"see that it runs and is reachable (`curl https://{registry}/v2/`); a lab's: `timelock lab up`",
        ) from error


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        raise MachineCannot(
            f"{ca_file}: expected the certificate of the registry's authority (PEM), found: {error}",
            next_step="check timelock_registry_ca_file in the inventory; a lab's comes with `timelock lab up`",
        ) from error


def _head(registry: str, path: str, trust: ssl.SSLContext) -> tuple[int, str]:
    connection = http.client.HTTPSConnection(registry, timeout=TIMEOUT_SECONDS, context=trust)
    try:
        connection.request("HEAD", path, headers={"Accept": ", ".join(MANIFESTS)})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Docker-Content-Digest", "")
    finally:
        connection.close()
