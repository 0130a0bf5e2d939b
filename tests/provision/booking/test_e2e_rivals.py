"""Two bookings at once for the same last GPUs: one has them, the other is told so at once, and leaves nothing."""

from pathlib import Path

import pytest

from provision.booking.ledger import Ledger
from provision.lab.lab import Lab
from tests.fakes.bookings import Demo, write_inventory, write_request
from tests.fakes.cli import Cli

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("tidy")]

NAMES = ("one", "other")


def test_of_two_bookings_at_once_for_the_last_gpus_one_wins(
    timelock: Cli, lab: Lab, shared_demo: Demo, tmp_path: Path
) -> None:
    last = write_inventory(tmp_path, lab, {shared_demo.spare: {}})
    requests = [write_request(tmp_path, name, count=2, hosts=1) for name in NAMES]
    options = ("--inventory", last, "--yes", "--no-wait", "--no-serve")
    started = [timelock.start("book", request, *options) for request in requests]
    ended = {name: (process.communicate(), process.returncode) for name, process in zip(NAMES, started, strict=True)}
    codes = {name: code for name, (_, code) in ended.items()}
    assert sorted(codes.values()) == [0, 4], ended
    (winner,) = (name for name, code in codes.items() if code == 0)
    (loser,) = set(NAMES) - {winner}
    assert "GPU" in ended[loser][0][1]
    with Ledger(timelock.home.ledger_url) as ledger:
        assert {booking.name for booking in ledger.bookings()} & set(NAMES) == {winner}
        assert len(ledger.claims(ledger.booking(winner).id)) == 2
        lost = ledger.find(loser)
        assert lost is None or ledger.claims(lost.id) == ()
    assert not [path for path in place(timelock, loser) if path in ("passphrase", "mesh.secret", "pulumi")]
    timelock("release", winner, "--yes")
    assert place(timelock, winner) & {"passphrase", "mesh.secret", "pulumi"} == set()


def place(timelock: Cli, name: str) -> set[str]:
    root = timelock.home.booking(name).root
    return {path.name for path in root.iterdir()} if root.exists() else set()
