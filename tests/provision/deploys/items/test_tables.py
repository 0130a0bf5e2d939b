"""Tables of nftables: drift is named."""

import pytest

from provision.deploys.items.tables import NftTable
from tests.provision.deploys.conftest import Sandbox

TABLE = NftTable(family="inet", name="example", file="/etc/example.nft", follows=("file /etc/example.nft",))
RULES = """table inet example
delete table inet example
table inet example {
  chain input {
    type filter hook input priority filter - 10; policy drop;
    iif lo accept
    tcp dport {22,80} counter accept
    udp dport 51820 counter accept
  }
}
"""


@pytest.mark.parametrize(
    ("force", "wished", "reason"),
    [
        ("a\nb", "a\nb", None),
        ("", "a\nb", "absent"),
        ("a", "a\nb", "missing: b"),
        ("a", "a\nb\nc", "missing: b and 1 more"),
        ("a\nb\nx", "a\nb", "not ours: x"),
        ("a\nx", "a\nb", "missing: b, not ours: x"),
    ],
)
def test_differs(force: str, wished: str, reason: str | None) -> None:
    changes = TABLE.changes(f"{force}\n\n##wished\n{wished}", frozenset())
    assert [change.reason for change in changes] == ([reason] if reason else [])


def test_a_changed_file_is_loaded() -> None:
    (change,) = TABLE.changes("a\n##wished\na", frozenset({"file /etc/example.nft"}))
    assert change.reason == "file /etc/example.nft changes"


def test_drift_in_the_kernel_is_found_named_and_repaired(sandbox: Sandbox) -> None:
    sandbox.sh(f"cat > /etc/example.nft <<'END'\n{RULES}END\nnft add table ip theirs")
    sandbox.do(TABLE.changes(sandbox.seen(TABLE.probe()), frozenset()))
    assert not TABLE.changes(sandbox.seen(TABLE.probe()), frozenset())
    rule = "nft -a list table inet example | sed -n 's/.*51820.*handle //p'"
    sandbox.sh(f"nft delete rule inet example input handle $({rule})")
    sandbox.sh("nft add rule inet example input tcp dport 8080 accept")
    (change,) = TABLE.changes(sandbox.seen(TABLE.probe()), frozenset())
    assert change.reason == "missing: udp dport 51820 counter accept, not ours: tcp dport 8080 accept"
    sandbox.do([change])
    assert not TABLE.changes(sandbox.seen(TABLE.probe()), frozenset())
    sandbox.do(TABLE.removal(sandbox.seen(TABLE.probe())))
    assert sandbox.sh("nft list tables") == "table ip theirs\n"
