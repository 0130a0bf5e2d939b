"""From what went wrong to a kind, a cause and advice: pure, so that each case is a line in a test."""

from __future__ import annotations

from paramiko import AuthenticationException, BadHostKeyException

from provision.deploys.errors import Kind, StepFailed
from provision.deploys.script import FAIL_MARK, NEXT_MARK

_TAIL_LINES = 6
_KINDS: tuple[Kind, ...] = ("step", "disk_full", "registry", "digest", "timeout", "invalid")

_DISK_FULL = ("no space left on device", "enospc", "you don't have enough free space", "disk quota exceeded")
_ADVICE: dict[Kind, str] = {
    "unreachable": "check that the host is up and that its firewall admits this machine on the SSH port, then resume",
    "host_key": "if the host was re-installed on purpose, correct its key in the inventory; else do not trust it",
    "auth": "check ansible_user and ansible_ssh_private_key_file of the host in the inventory",
    "disk_full": "free space on the host, then resume",
    "timeout": "look at the host's load and journal, then resume",
}


def of_connect(error: BaseException, address: str) -> StepFailed:
    """Return why a host could not be connected to, from pyinfra's error and what it wraps."""
    cause = error.__cause__ or error.__context__
    text = f"{address}: {error}"
    if isinstance(cause, BadHostKeyException):
        text = f"{address}: the SSH host key changed: pinned {_key(cause.expected_key)}, offered {_key(cause.key)}"
        return _failed("connect", text, "host_key")
    if "No host key for" in text:
        return _failed("connect", f"{address}: no key of this host is pinned in the known_hosts file", "host_key")
    if isinstance(cause, AuthenticationException) or "private key" in text:
        return _failed("connect", text, "auth")
    return _failed("connect", text, "unreachable")


def of_command(step: str, stderr: str) -> StepFailed:
    """Return why a command failed, from what it wrote to stderr; the frame of a command writes there, too."""
    lines = [line.rstrip() for line in stderr.splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith((FAIL_MARK, NEXT_MARK))]
    kind, advice = _marks(lines)
    if kind is None and any(mark in stderr.lower() for mark in _DISK_FULL):
        kind = "disk_full"
    return _failed(step, "\n".join(own[-_TAIL_LINES:]) or "failed and said nothing", kind or "step", advice)


def _marks(lines: list[str]) -> tuple[Kind | None, str]:
    """Return kind and advice that a command gave by `fail`, the last one if there are several."""
    kind, advice = None, ""
    for line in lines:
        mark, _, rest = line.partition(" ")
        if mark == FAIL_MARK:
            kind = next((known for known in _KINDS if known == rest), kind)
        elif mark == NEXT_MARK:
            advice = rest
    return kind, advice


def _failed(step: str, cause: str, kind: Kind, advice: str = "") -> StepFailed:
    return StepFailed(step, cause, kind=kind, next_step=advice or _ADVICE.get(kind, ""))


def _key(key: object) -> str:
    """Return a key as people compare it: its SHA-256 fingerprint."""
    return str(getattr(key, "fingerprint", key))
