"""A container image in a booking's engine, exactly that of its digest."""

from __future__ import annotations

from dataclasses import dataclass

from provision.deploys.item import Change, Command, Stays, quote
from provision.deploys.items.docker import asked, docker
from provision.deploys.places import pull_unit

PULL_TIMEOUT_SECONDS = 900

# The engine role has started a pull in the background; if that ended without the image, pull here and hear why. A
# digest is checked by the engine while it pulls: what it keeps under name@digest is that.
_PULL = """\
there() {{ {docker} image inspect {reference} >/dev/null 2>&1; }}
pulling=$(systemctl show -p MainPID --value {unit})
[ "${{pulling:-0}}" = 0 ] || tail --pid="$pulling" -s 0.1 -f /dev/null
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
class Image(Stays):
    """The image `name@digest` is there, whole. Waits for the pull under way, or pulls. Goes with the data-root."""

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
        return asked(self.booking, f"image inspect -f '{{{{join .RepoDigests \" \"}}}}' {quote(self.reference)}")

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Wait or pull."""
        if self.reference in seen.split():
            return ()
        text = _PULL.format(
            docker=docker(self.booking),
            reference=quote(self.reference),
            unit=quote(pull_unit(self.booking, self.reference)),
        )
        # Two that wait for one pull do no harm, so it need not keep the booking's lock.
        pull = Command(text=text, timeout_seconds=PULL_TIMEOUT_SECONDS, exclusive=False)
        return (Change(reason="absent", commands=(pull,)),)
