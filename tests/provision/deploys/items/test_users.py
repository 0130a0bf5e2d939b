"""The booking's user and its ids."""

from dataclasses import replace

import pytest

from provision.deploys.errors import StepFailed
from provision.deploys.item import quote
from provision.deploys.items.users import SystemUser
from tests.provision.deploys.conftest import Sandbox

USER = SystemUser(name="tl-demo", subid_start=1_000_000, scratch="/run/accounts")
ON_SANDBOX = replace(USER, subid_start=3_000_000_000)
HALF = "tl-demo:x:998:998::/nonexistent:/usr/sbin/nologin"
ACCOUNT = f"{HALF}\ngroup tl-demo:x:998:"
RANGES = "uid tl-demo:1000000:65536\ngid tl-demo:1000000:65536"


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (f"{ACCOUNT}\n{RANGES}", None),
        (f"{ACCOUNT}\nuid admin:100000:65536\n{RANGES}", None),
        ("uid admin:100000:65536", "absent"),
        ("", "absent"),
        (f"{HALF}\n{RANGES}", "its group is absent"),
        (f"{ACCOUNT}\nuid tl-demo:1000000:65536", "ids differ"),
        (f"{ACCOUNT}\nuid tl-demo:5:65536\ngid tl-demo:5:65536", "ids differ"),
        (f"{ACCOUNT}\n{RANGES}\ncut off", "was cut off"),
    ],
)
def test_differs(seen: str, reason: str | None) -> None:
    assert [change.reason for change in USER.changes(seen, frozenset())] == ([reason] if reason else [])


@pytest.mark.parametrize("line", ["uid admin:1065535:1", "gid admin:900000:100001", "uid tl-other:1000000:65536"])
def test_a_range_of_somebody_else_is_refused(line: str) -> None:
    with pytest.raises(StepFailed, match="overlaps"):
        USER.changes(line, frozenset())


@pytest.mark.parametrize("line", ["uid admin:1065536:1", "gid admin:900000:100000"])
def test_a_range_beside_ours_is_not(line: str) -> None:
    assert USER.changes(line, frozenset())


ACCOUNTS = (
    "cd /etc; for f in passwd group shadow gshadow subuid subgid; do cat $f $f- 2>/dev/null; done | sha256sum; "
    "ls -d /run/accounts* 2>/dev/null; :"
)


def test_comes_and_goes_without_a_trace(sandbox: Sandbox) -> None:
    sandbox.sh("touch /etc/subuid /etc/subgid")
    before = sandbox.sh(ACCOUNTS)
    user = ON_SANDBOX
    sandbox.do(user.changes(sandbox.seen(user.probe()), frozenset()))
    seen = sandbox.seen(user.probe())
    assert "uid tl-demo:3000000000:65536" in seen
    assert not user.changes(seen, frozenset())
    sandbox.do(user.removal(seen))
    assert sandbox.sh(ACCOUNTS) == before
    assert not user.removal(sandbox.seen(user.probe()))


@pytest.mark.parametrize("lost", ["passwd", "group"])
def test_half_of_an_account_is_made_whole(sandbox: Sandbox, lost: str) -> None:
    user = ON_SANDBOX
    sandbox.sh("touch /etc/subuid /etc/subgid")
    sandbox.do(user.changes(sandbox.seen(user.probe()), frozenset()))
    sandbox.sh(f"sed -i /^tl-demo:/d /etc/{lost}")  # as `useradd` or `userdel` leaves it when it is killed
    sandbox.do(user.changes(sandbox.seen(user.probe()), frozenset()))
    seen = sandbox.seen(user.probe())
    assert not user.changes(seen, frozenset())
    sandbox.do(user.removal(seen))
    assert not sandbox.sh("getent passwd tl-demo || getent group tl-demo || true")


@pytest.mark.parametrize("tool", ["useradd", "userdel", "cp", "mv"])
def test_whoever_comes_after_a_kill_puts_back_what_was_there(sandbox: Sandbox, tool: str) -> None:
    user = ON_SANDBOX
    sandbox.sh("touch /etc/subuid /etc/subgid; cp /etc/group /etc/group-; rm -f /etc/passwd-")
    before = sandbox.sh(ACCOUNTS)
    kill = f'{tool}() {{ command {tool} "$@"; kill -9 $$; }}\n'  # it has done its work, and that was all
    if tool == "userdel":
        sandbox.do(user.changes("", frozenset()))
        (cut_off,) = user.removal(sandbox.seen(user.probe()))
    else:
        (cut_off,) = user.changes("", frozenset())
    assert sandbox.status(f"sh -c {quote(kill + cut_off.commands[0].text)}", "") != 0
    if tool == "cp":
        sandbox.do(user.changes(sandbox.seen(user.probe()), frozenset()))
        assert not user.changes(sandbox.seen(user.probe()), frozenset())
    sandbox.do(user.removal(sandbox.seen(user.probe())))
    sandbox.sh("rm -rf /run/accounts.*")  # it goes with the booking's directory, of which it is a part
    assert sandbox.sh(ACCOUNTS) == before
