"""Keys and facts of a host."""

import pytest

from provision.deploys.identity import PrivateKey
from provision.deploys.role import parse
from tests.provision.deploys.conftest import Sandbox
from tests.provision.deploys.roles import ROLES

KEY = PrivateKey(path="/var/lib/timelock-host/bookings/demo/wireguard-0.key")
PUBLIC = "2XD0sEErIuReZMA4SW7UMv/QbG6GqYY/ZINDt2lCE0c="


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (f"600 root:root\n{PUBLIC}", None),
        (f"644 root:root\n{PUBLIC}", "is 644 root:root, should be 600 root:root"),
        ("600 root:root", "holds no key"),
        ("", "absent"),
    ],
)
def test_a_key_differs(seen: str, reason: str | None) -> None:
    assert [change.reason for change in KEY.changes(seen, frozenset())] == ([reason] if reason else [])


def test_outputs() -> None:
    role = parse("identity", ROLES["identity"])
    seen = {item.label: "" for item in role.items()}
    seen[KEY.label] = f"600 root:root\n{PUBLIC}"
    seen["host"] = "machine_id abc\nkernel 6.1.0\nwireguard kernel\ndocker 20.10.24+dfsg1"
    assert role.outputs(seen) == {
        "public_keys": {"0": PUBLIC, "1": ""},
        "machine_id": "abc",
        "kernel": "6.1.0",
        "wireguard": "kernel",
        "docker": "20.10.24+dfsg1",
    }


def test_a_key_is_made_once_and_stays(sandbox: Sandbox) -> None:
    sandbox.sh("mkdir -p /var/lib/timelock-host/bookings/demo")
    sandbox.do(KEY.changes("", frozenset()))
    first = sandbox.seen(KEY.probe())
    sandbox.do(KEY.changes("", frozenset()))
    assert sandbox.seen(KEY.probe()) == first
    assert first.startswith("600 root:root\n")
    sandbox.do(KEY.removal(first))
    assert sandbox.seen(KEY.probe()) == ""


def test_the_ground_is_cleared_with_the_last_booking(sandbox: Sandbox) -> None:
    ground = parse("identity", ROLES["identity"]).items()[0]
    sandbox.sh("mkdir -p /var/lib/timelock-host/bookings/demo /var/lib/timelock-host/bookings/other /run/timelock")
    sandbox.sh("touch /run/timelock/demo.lock /run/timelock/shared.lock; rmdir /var/lib/timelock-host/bookings/demo")
    sandbox.act("demo", "test", ground.removal(sandbox.seen(ground.probe()))[0].commands)
    assert sandbox.sh("ls /var/lib/timelock-host/bookings /run/timelock").split()[-3:] == [
        "shared.lock",
        "/var/lib/timelock-host/bookings:",
        "other",
    ]
    sandbox.sh("rmdir /var/lib/timelock-host/bookings/other")
    sandbox.act("demo", "test", ground.removal(sandbox.seen(ground.probe()))[0].commands)
    assert sandbox.seen("ls -d /var/lib/timelock-host /run/timelock") == ""
    assert not ground.removal(sandbox.seen(ground.probe()))
