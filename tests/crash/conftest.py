"""Bookings to be killed, on the shared lab; whatever becomes of them, the hosts are given back."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.booking.errors import NoSuchBooking
from provision.booking.ledger import Ledger
from provision.lab.lab import Lab
from tests.crash.subject import Subject

Make = Callable[[int], Subject]
NUMBERS = itertools.count(1)


@pytest.fixture
def subject(lab: Lab, ssh: Callable[..., str], tmp_path: Path) -> Iterator[Make]:
    """Make a booking on that many hosts: `subject(1)`."""
    made: list[Subject] = []

    def make(hosts: int) -> Subject:
        made.append(Subject(lab=lab, ssh=ssh, folder=tmp_path, name=f"crash{next(NUMBERS)}", hosts=hosts))
        made[-1].remember()
        return made[-1]

    yield make
    for one in made:
        with Ledger(lab.home.ledger_url) as ledger:
            try:
                over = not ledger.booking(one.name).live
            except NoSuchBooking:
                over = True
        if not over:
            one.succeeds(one.release())
