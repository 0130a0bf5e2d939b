"""Kernel settings: set, remembered, put back."""

import pytest

from provision.deploys.items.sysctls import Sysctl
from tests.provision.deploys.conftest import Sandbox

SYSCTL = Sysctl(key="net.ipv4.ip_local_port_range", value="10000 60000")


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ("10000\t60000", None),
        ("10000\t60000\n32768\t60999", None),
        ("32768\t60999", "is 32768 60999, should be 10000 60000"),
        ("", "unknown to the kernel"),
    ],
)
def test_differs(seen: str, reason: str | None) -> None:
    assert [change.reason for change in SYSCTL.changes(seen, frozenset())] == ([reason] if reason else [])


def test_a_kernel_without_an_optional_key_is_left_alone() -> None:
    assert not Sysctl(key="kernel.nothing", value="1", optional=True).changes("", frozenset())


def test_the_value_before_us_comes_back(sandbox: Sandbox) -> None:
    sysctl = Sysctl(key="net.ipv4.ip_default_ttl", value="77")
    before = sandbox.seen(sysctl.probe())
    sandbox.do(sysctl.changes(before, frozenset()))
    seen = sandbox.seen(sysctl.probe())
    assert seen == f"77\n{before}"
    sandbox.do(sysctl.removal(seen))
    assert sandbox.seen(sysctl.probe()) == before
    assert not sysctl.removal(before)
