"""What a person (or `timelock serve`) can do to a booking: each takes the booking's lock, then follows the arrows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provision.booking import lifecycle
from provision.booking.lock import held
from provision.booking.model import Booking, BookingState
from provision.booking.proposal import propose
from provision.booking.records import plan_of
from provision.booking.stack import run_stack, state_is_there
from provision.errors import InvalidInput, MachineCannot
from provision.request.model import difference
from provision.request.parse import parse

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.lifecycle import Result
    from provision.home import BookingPlace
    from provision.matching.model import Plan
    from provision.request.model import Accepted, Request
    from provision.supply.model import Supply

Confirm = Callable[["Plan"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing on a host that is not what the Plan says."""

    host: str
    role: str
    what: str


def preview(desk: Desk, request: Request, inventory: Path) -> Plan:
    """The Plan for a request as of now; books nothing."""
    request.refuse_at_once(desk.now_ns())
    supply = read_supply(desk, inventory)
    wish = _accepted(desk, request, supply)
    with tempfile.TemporaryDirectory() as scratch:
        return propose(desk, wish, supply, Path(scratch) / "known_hosts")


def book(
    desk: Desk, request: Request, text: str, inventory: Path | None, *, confirm: Confirm, wait: bool
) -> Result | None:
    """Accept the request, or find the booking it already made, and bring it to ACTIVE; None if not confirmed.

    Without `wait` it is claimed only: `timelock serve` does the rest.

    Raises:
        InvalidInput: a live booking of this name was made from another request; shows the difference.
    """
    with _locked(desk, request.name, "book"):
        booking = find_same(desk, request)
        if booking is None:
            if inventory is None:
                raise InvalidInput((f"{request.name}: expected an inventory to match against, found none",))
            booking = _accept(desk, request, text, inventory, confirm)
        if booking is None:
            return None
        booking = _take_up(desk, booking)
        return lifecycle.advance(desk, booking) if wait else lifecycle.Result(booking=booking)


def find_same(desk: Desk, request: Request) -> Booking | None:
    """The live booking that this very request made, if any.

    Raises:
        InvalidInput: a live booking of this name was made from another request.
    """
    booking = desk.ledger.find(request.name)
    if booking is None or not booking.live:
        return None
    if booking.request_digest == request.digest():
        return booking
    changed = difference(parse(booking.request_text, "accepted request"), request)
    raise InvalidInput(
        (f"{request.name}: a live booking of this name was made from another request; the difference:", *changed),
        next_step=f"choose another name, or `timelock release {request.name}` first; `timelock extend` moves its end",
    )


def resume(desk: Desk, name: str) -> Result:
    """Go on where the booking stopped, whatever stopped it."""
    with _locked(desk, name, "resume"):
        return lifecycle.advance(desk, _take_up(desk, _live(desk, name)))


def release(desk: Desk, name: str, reason: str = "released on request") -> Result:
    """Give the hosts back and release the claims; a booking that is over stays as it is."""
    with _locked(desk, name, "release"):
        booking = desk.ledger.booking(name)
        if not booking.live:
            return lifecycle.Result(booking=booking)
        return lifecycle.advance(desk, lifecycle.begin_close(desk, booking, reason))


def extend(desk: Desk, name: str, end_ns: int) -> Booking:
    """Move the end of the window later."""
    with _locked(desk, name, "extend"):
        return lifecycle.extend(desk, _live(desk, name), end_ns)


def drift(desk: Desk, name: str) -> tuple[Difference, ...]:
    """What on the hosts is not what the Plan says; changes nothing on them."""
    with _locked(desk, name, "drift"):
        booking = _live(desk, name)
        if booking.state not in {BookingState.ACTIVE, BookingState.PROVISIONING, BookingState.QUARANTINED}:
            raise InvalidInput((f"{name}: expected a booking that is on its hosts, found one that is {booking.state}",))
        if not state_is_there(desk, booking):
            raise MachineCannot(
                f"{name}: expected the state of its stack, found none, so that nothing can be compared",
                next_step=f"`timelock resume {name}` makes it anew: hosts know themselves what is on them",
            )
        outcome = run_stack(desk, booking, "drift")
        lost = {
            failure.host: Difference(host=failure.host, role="ssh", what=failure.cause) for failure in outcome.failures
        }
        found = (Difference(host=d.host, role=d.role, what=what) for d in outcome.drift for what in d.changes)
        return (*(difference for difference in found if difference.host not in lost), *lost.values())


def read_supply(desk: Desk, inventory: Path) -> Supply:
    """Read the inventory, through the cache."""
    from provision.supply.inventory import read_inventory

    desk.phase("read", str(inventory))
    return read_inventory(inventory, cache_dir=desk.home.cache / "inventories")


def _accept(desk: Desk, request: Request, text: str, inventory: Path, confirm: Confirm) -> Booking | None:
    request.refuse_at_once(desk.now_ns())
    supply = read_supply(desk, inventory)
    wish = _accepted(desk, request, supply)
    place = desk.place(request.name)
    place.clear()
    plan = propose(desk, wish, supply, place.known_hosts)
    if not confirm(plan):
        place.clear()
        return None
    place.request.write_text(text, encoding="utf-8")
    place.inventory.write_text(f"{inventory}\n", encoding="utf-8")
    _keep_registry(place, supply)
    return lifecycle.accept(desk, wish, plan, text)


def _accepted(desk: Desk, request: Request, supply: Supply) -> Accepted:
    from provision.booking.image import resolve

    registry = supply.registry
    desk.phase("image", request.image)
    ca_file = Path(registry.ca_file) if registry and registry.ca_file else None
    return request.accept(desk.now_ns(), resolve(request.image, registry.address if registry else None, ca_file))


def _keep_registry(place: BookingPlace, supply: Supply) -> None:
    """Fix what the booking pulls besides its image, and whom it trusts for it, at this instant."""
    from provision.booking.image import resolve
    from provision.booking.stack import PAUSE_IMAGE

    registry = supply.registry
    ca_file = Path(registry.ca_file) if registry and registry.ca_file else None
    if ca_file:
        place.registry_ca.write_bytes(ca_file.read_bytes())
    place.pause_image.write_text(resolve(PAUSE_IMAGE, registry.address if registry else None, ca_file) + "\n")


def _take_up(desk: Desk, booking: Booking) -> Booking:
    """A booking cut off before its claims: what it lacks is decided, and held, now."""
    from provision.booking.records import supply_of, wish_of

    if booking.state is BookingState.REQUESTED:
        supply, known_hosts = supply_of(desk.home, booking.name), desk.place(booking.name).known_hosts
        booking = lifecycle.plan_booking(desk, booking, propose(desk, wish_of(booking), supply, known_hosts))
    if booking.state is BookingState.PLANNED:
        booking = lifecycle.claim(desk, booking, plan_of(booking))
    return booking


def _live(desk: Desk, name: str) -> Booking:
    booking = desk.ledger.booking(name)
    if not booking.live:
        raise InvalidInput(
            (f"{name}: expected a live booking, found one that is {booking.state}",), next_step="book again"
        )
    return booking


@contextmanager
def _locked(desk: Desk, name: str, operation: str) -> Iterator[None]:
    if operation != "book" and not desk.home.booking(name).lock.exists():
        desk.ledger.booking(name)  # what was never booked gets no directory
    with held(desk.place(name).lock, operation=f"timelock {operation} {name}"):
        yield
