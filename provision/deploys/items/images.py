"""A container image in a booking's engine, exactly that of its digest."""

from __future__ import annotations

from dataclasses import dataclass

from provision.deploys.item import Change, Command, quote
from provision.deploys.places import engine_socket, pull_unit

PULL_TIMEOUT_SECONDS = 900

# The engine role has started a pull in the background; if that ended without the image, pull here and hear why. A
# digest is checked by the engine while it pulls: what it keeps under name@digest is that.
_PULL = """\
there() {{ {docker} image inspect {reference} >/dev/null 2>&1; }}
while ! there; do
  case $(systemctl show -p ActiveState --value {unit}) in active|activating) sleep 0.2 ;; *) break ;; esac
done
there || said=$({docker} pull --quiet {reference} 2>&1) || {{
  case $said in
    *'no space left'*) fail disk_full "$said" '' ;;
    *'verification failed'*|*'unexpected commit digest'*|*'does not match'*)
      fail digest "$said" 'do not use this registry until it is known why it gives out something else' ;;
    *'unauthorized'*|*'denied'*|*'manifest unknown'*|*'not found'*)
      fail registry "$said" 'see that the registry has the image and gives it out without a login' ;;
    *'dial tcp'*|*'Timeout'*|*'timeout'*|*'x509'*|*'EOF'*|*'connection'*|*'HTTP'*|*'lookup'*|*'server misbehaving'*)
      fail registry "$said" 'see that the registry runs and that the host reaches it, then resume' ;;
    *) fail step "$said" '' ;;
  esac
}}
systemctl reset-failed {unit} 2>/dev/null || :
there || fail digest "the engine has no image of {reference}" ''"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The image `name@digest` is there, whole. Waits for the pull under way, or pulls."""

    booking: str
    reference: str
    shared: str = ""

    @property
    def label(self) -> str:
        """'image name@digest', the digest shortened."""
        name, _, digest = self.reference.partition("@sha256:")
        return f"image {name}@{digest[:12]}"

    def probe(self) -> str:
        """Print the digests under which the engine keeps it."""
        return f"{self._docker} image inspect -f '{{{{join .RepoDigests \" \"}}}}' {quote(self.reference)}"

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Wait or pull."""
        if self.reference in seen.split():
            return ()
        text = _PULL.format(
            docker=self._docker,
            reference=quote(self.reference),
            unit=quote(pull_unit(self.booking, self.reference)),
        )
        # Two that wait for one pull do no harm, so it need not keep the booking's lock.
        pull = Command(text=text, timeout_seconds=PULL_TIMEOUT_SECONDS, exclusive=False)
        return (Change(reason="absent", commands=(pull,)),)

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Remove it."""
        if not seen:
            return ()
        text = f"{self._docker} image rm -f {quote(self.reference)} >/dev/null"
        return (Change(reason="no longer wanted", commands=(Command(text=text, timeout_seconds=120),)),)

    @property
    def _docker(self) -> str:
        return f"docker -H {quote('unix://' + engine_socket(self.booking))}"
