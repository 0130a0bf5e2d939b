"""What every operation on a booking works with: where things are, ledger, who acts, what time it is, whom to tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.booking.progress import Phase, Tell, silent

if TYPE_CHECKING:
    from provision.booking.ledger import Ledger
    from provision.home import BookingPlace, Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The surroundings of an operation. `now_ns` is asked for each event; decisions get the instant handed to them."""

    home: Home
    ledger: Ledger
    actor: str
    tell: Tell = silent
    now_ns: Callable[[], int] = time.time_ns

    def place(self, name: str) -> BookingPlace:
        """The private directory of the booking `name`, made if missing."""
        return self.home.booking(name).make()

    def phase(self, name: str, detail: str = "") -> None:
        """Tell that a phase begins."""
        self.tell(Phase(name=name, detail=detail))
