"""The firewall's rules: as text, and as the kernel takes them."""

import pytest

from provision.deploys import reconcile
from provision.deploys.errors import StepFailed
from provision.deploys.firewall import Admitted
from provision.deploys.item import Item
from provision.deploys.items.files import File
from provision.deploys.reconcile import OnStep
from provision.deploys.role import Role, parse
from tests.provision.deploys.conftest import Sandbox
from tests.provision.deploys.roles import ROLES


class Rules(Role):
    """The firewall without package and unit, which a sandbox has not."""

    peers: tuple[str, ...] = ("192.0.2.12",)

    def items(self) -> tuple[Item, ...]:
        params = {**ROLES["firewall"], "booking": self.booking, "peers": list(self.peers)}
        return tuple(item for item in parse("firewall", params).items() if not item.label.startswith(("unit", "pack")))


def fragment(**changes: object) -> str:
    file = parse("firewall", {**ROLES["firewall"], **changes}).items()[5]
    assert isinstance(file, File)
    return file.content


def test_a_fragment_admits_management_and_peers_by_family() -> None:
    assert fragment().splitlines() == [
        "# Booking demo",
        'ip saddr { 192.0.2.1 } tcp dport 22 counter accept comment "demo: ssh"',
        'ip6 saddr { 2001:db8::/64 } tcp dport 22 counter accept comment "demo: ssh"',
        'ip saddr { 192.0.2.12, 192.0.2.13 } udp dport { 51820, 51821 } counter accept comment "demo: wireguard"',
    ]


@pytest.mark.parametrize("changes", [{"peers": []}, {"udp_ports": []}])
def test_without_peers_or_ports_no_packet_of_wireguard_is_admitted(changes: dict[str, object]) -> None:
    assert "udp" not in fragment(**changes)


def test_the_order_of_peers_does_not_matter() -> None:
    assert fragment(peers=["192.0.2.13", "192.0.2.12"]) == fragment()


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        ("192.0.2.1 55555 192.0.2.11 22", None),
        ("::ffff:192.0.2.1 55555 ::ffff:192.0.2.11 22", None),
        ("2001:db8::7 55555 2001:db8::1 22", None),
        ("", None),
        ("192.0.2.2 55555 192.0.2.11 22", "comes from 192.0.2.2"),
        ("2001:db9::7 55555 2001:db8::1 22", "comes from 2001:db9::7"),
        ("192.0.2.1 55555 192.0.2.11 2222", "port 2222"),
    ],
)
def test_what_would_shut_us_out_is_refused(seen: str, problem: str | None) -> None:
    admitted = Admitted(management=("192.0.2.1/32", "2001:db8::/64"), ssh_port=22)
    if problem is None:
        assert not admitted.changes(seen, frozenset())
    else:
        with pytest.raises(StepFailed, match=problem) as failure:
            admitted.changes(seen, frozenset())
        assert failure.value.next_step


def test_two_bookings_share_the_table_and_leave_those_of_others(sandbox: Sandbox, on_step: OnStep) -> None:
    sandbox.sh("nft add table ip theirs")
    one, two = Rules(booking="one"), Rules(booking="two")
    for role in (one, two):
        assert reconcile.apply(sandbox, role, on_step).changes
    table = sandbox.sh("nft list table inet timelock")
    assert table.count("policy drop") == 2
    assert '"one: wireguard"' in table
    assert '"two: wireguard"' in table
    # The first sees that the second changed nothing of its own.
    assert reconcile.apply(sandbox, one, on_step).changes == ()
    changed = Rules(booking="two", peers=("192.0.2.99",))
    assert reconcile.apply(sandbox, changed, on_step).changes == (
        "file /etc/timelock/firewall.d/two.nft: content differs",
        "table inet timelock: file /etc/timelock/firewall.d/two.nft changes",
    )
    reconcile.remove(sandbox, one, on_step)
    table = sandbox.sh("nft list table inet timelock")
    assert '"one: wireguard"' not in table
    assert "192.0.2.99" in table
    reconcile.remove(sandbox, changed, on_step)
    assert sandbox.sh("nft list tables") == "table ip theirs\n"
    assert sandbox.seen("ls -d /etc/timelock /var/lib/timelock-host/holders/*") == ""


def test_the_table_goes_with_the_last_fragment_so_that_nobody_is_shut_out_meanwhile(
    sandbox: Sandbox, on_step: OnStep
) -> None:
    one, two = Rules(booking="one"), Rules(booking="two")
    for role in (one, two):
        reconcile.apply(sandbox, role, on_step)
    sandbox.do(fragment_of(one).removal("there"))
    assert '"two: ssh"' in sandbox.sh("nft list table inet timelock")
    sandbox.do(fragment_of(two).removal("there"))
    assert sandbox.sh("nft list tables") == ""


def test_a_rule_taken_away_by_hand_is_named(sandbox: Sandbox, on_step: OnStep) -> None:
    role = Rules(booking="one")
    reconcile.apply(sandbox, role, on_step)
    rule = "nft -a list table inet timelock | sed -n 's/.*one: wireguard.*handle //p'"
    sandbox.sh(f"nft delete rule inet timelock input handle $({rule})")
    (outcome,) = reconcile.observe(sandbox, [role], [on_step])
    assert isinstance(outcome, reconcile.Outcome)
    (drift,) = outcome.changes
    assert drift.startswith("table inet timelock: missing: ip saddr 192.0.2.12 udp dport")
    reconcile.apply(sandbox, role, on_step)
    (outcome,) = reconcile.observe(sandbox, [role], [on_step])
    assert isinstance(outcome, reconcile.Outcome)
    assert outcome.changes == ()


def fragment_of(role: Rules) -> Item:
    return next(item for item in role.items() if item.label == f"file /etc/timelock/firewall.d/{role.booking}.nft")
