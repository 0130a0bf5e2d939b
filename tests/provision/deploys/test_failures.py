"""From what went wrong to a kind: one line a case."""

import paramiko
import pytest

from provision.deploys.failures import of_command, of_connect


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__context__ = cause
    return error


KEY = paramiko.ECDSAKey.generate()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (caused(OSError("Could not connect (timed out)"), TimeoutError()), "unreachable"),
        (OSError("Could not resolve hostname"), "unreachable"),
        (EOFError(), "unreachable"),
        (caused(OSError("Authentication error"), paramiko.AuthenticationException()), "auth"),
        (OSError("No such private key file: /x"), "auth"),
        (OSError("StrictPolicy: No host key for h found in known_hosts"), "host_key"),
        (caused(OSError("host key error"), paramiko.BadHostKeyException("h", KEY, KEY)), "host_key"),
    ],
)
def test_connecting(error: BaseException, kind: str) -> None:
    failure = of_connect(error, "root@192.0.2.1:22")
    assert (failure.kind, failure.step) == (kind, "connect")
    assert "192.0.2.1" in failure.cause
    assert failure.next_step


def test_a_changed_host_key_names_both_fingerprints() -> None:
    other = paramiko.ECDSAKey.generate()
    error = caused(OSError(), paramiko.BadHostKeyException("h", other, KEY))
    cause = of_connect(error, "h").cause
    assert KEY.fingerprint in cause
    assert other.fingerprint in cause


def test_only_the_tail_of_a_long_story_is_told() -> None:
    failure = of_command("x", "\n".join(f"line {number}" for number in range(100)))
    assert failure.cause.splitlines()[0] == "line 94"
    assert failure.cause.splitlines()[-1] == "line 99"


def test_an_unknown_kind_is_a_step_failure() -> None:
    assert of_command("x", "words\n##timelock-fail weather").kind == "step"
