"""The control plane: what it does when the ledger is away, and when somebody is at work already."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

from provision.booking.desk import Desk
from provision.booking.lock import held
from provision.booking.model import Booking, BookingState
from provision.booking.progress import silent
from provision.control.serve import serve
from provision.errors import MachineCannot
from provision.home import Home
from tests.provision.control.test_schedule import booking


@dataclass
class Shaky:
    """A ledger that is away for two rounds, back for two, and then ends its reader."""

    found: tuple[Booking, ...] = ()
    rounds: list[str] = field(default_factory=lambda: ["away", "away", "here", "end"])

    def bookings(self) -> tuple[Booking, ...]:
        match self.rounds.pop(0):
            case "away":
                raise MachineCannot("ledger: connection refused")
            case "end":
                os.kill(os.getpid(), signal.SIGTERM)
        return self.found


def run(home: Home, ledger: Shaky) -> list[str]:
    said: list[str] = []
    desk = Desk(home=home, ledger=ledger, actor="serve", tell=silent)  # type: ignore[arg-type]
    home.serve.mkdir(parents=True)
    serve(desk, until_idle=False, say=said.append)
    return said


def test_it_outlives_a_ledger_that_is_away_and_says_so_once(home_here: Home) -> None:
    said = run(home_here, Shaky())
    assert said[:3] == ["serving", "ledger: connection refused; trying on", "the ledger is back"]
    assert len(said) == 4


def test_it_keeps_out_of_the_way_of_who_is_at_work(home_here: Home) -> None:
    with held(home_here.booking("demo").lock, operation="timelock book demo"):
        said = run(home_here, Shaky(found=(booking(BookingState.PROVISIONING),)))
    assert not [line for line in said if "resume" in line]
