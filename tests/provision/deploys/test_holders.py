"""Shared things go with the last booking."""

from provision.deploys.holders import Hold, unless_held
from provision.deploys.item import change
from tests.provision.deploys.conftest import Sandbox

ONE, TWO = Hold(group="a group", booking="one"), Hold(group="a group", booking="two")


def test_a_mark_is_the_bookings_own() -> None:
    assert ONE.changes("", frozenset())
    assert ONE.changes("two", frozenset())
    assert not ONE.changes("one\ntwo", frozenset())
    assert not ONE.removal("two")


def test_the_last_one_undoes(sandbox: Sandbox) -> None:
    undo = [unless_held("a group", change("x", "touch /run/undone"))]
    sandbox.sh(f"{ONE.take()}\n{TWO.take()}")
    assert sandbox.seen(ONE.probe()).split() == ["one", "two"]
    for hold, undone in ((ONE, ""), (TWO, "/run/undone")):
        sandbox.do(hold.removal(sandbox.seen(hold.probe())))
        sandbox.do(undo)
        assert sandbox.seen("ls /run/undone") == undone
    assert sandbox.seen("ls /var/lib/timelock-host/holders") == ""


def test_a_newcomer_between_mark_and_undoing_keeps_the_thing(sandbox: Sandbox) -> None:
    sandbox.sh(ONE.take())
    sandbox.do(ONE.removal(sandbox.seen(ONE.probe())))
    sandbox.sh(TWO.take())
    sandbox.do([unless_held("a group", change("x", "touch /run/undone"))])
    assert sandbox.seen("ls /run/undone") == ""
