"""What was seen of whom: records → sightings of actors on booked GPUs, each by one family of observation.

Families are paths of observation that do not depend on each other: the gate, the process file system, the driver, the
container engine. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from proofs.actors import Census, Standing
from proofs.records import (
    Accounting,
    Actor,
    AnyRecord,
    Container,
    Driver,
    Entered,
    Held,
    Opened,
    Scan,
)


class Family(StrEnum):
    """A path of observation."""

    GATE = "gate"
    PROCFS = "procfs"
    DRIVER = "driver"
    ENGINE = "engine"


class Strength(IntEnum):
    """How much a sighting says."""

    STOPPED = 0
    ATTEMPT = 1
    OPEN = 2
    USE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Somebody who was seen where only the booked container belongs. `actor` is absent where only a container is known.

    `entered`: seen not on a GPU, but coming into the booked control group from outside.
    """

    gpu: str
    actor: Actor | None
    family: Family
    strength: Strength
    times: int = 1
    entered: bool = False
    at_ns: int = 0
    standing: Standing = Standing.UNRESOLVED

    @property
    def who(self) -> object:
        """Whom it is about, and on which GPU; what has no actor is about itself alone."""
        actor = (self.actor.pid, self.actor.start) if self.actor else self.at_ns
        return (actor, self.gpu, self.entered)


MAY_OPEN = frozenset({Standing.AGENT, Standing.INFRASTRUCTURE})


def sightings(record: AnyRecord, census: Census) -> Iterator[Sighting]:
    """Those in one record that are not the booked container's own; `census` knows what was told before it."""
    for found in _seen(record):
        standing = census.standing(found.actor) if found.actor else Standing.UNRESOLVED
        if found.entered:
            standing = Standing.FOREIGN if found.actor else standing
        if standing is not Standing.BOOKED:
            yield replace(found, at_ns=record.at_ns, standing=standing)


def held_against(found: Sequence[Sighting]) -> tuple[Sighting, ...]:
    """Those that say something against somebody.

    Agent and infrastructure may open a GPU. One that uses it is foreign, and then all that was seen of it counts.
    """
    users = {each.who for each in found if each.strength is Strength.USE}
    return tuple(each for each in found if each.standing not in MAY_OPEN or each.who in users)


def _seen(record: AnyRecord) -> Iterator[Sighting]:
    match record:
        case Opened():
            strength = Strength.STOPPED if record.stopped else Strength.ATTEMPT
            yield Sighting(
                gpu=record.gpu, actor=record.actor, family=Family.GATE, strength=strength, times=record.times
            )
        case Held():
            strength = Strength.OPEN if record.present else Strength.ATTEMPT
            yield Sighting(gpu=record.gpu, actor=record.actor, family=Family.PROCFS, strength=strength)
        case Scan():
            for holding in record.holding:
                yield Sighting(gpu=holding.gpu, actor=holding.actor, family=Family.PROCFS, strength=Strength.OPEN)
        case Driver() | Accounting():
            for actor in _told_by_driver(record):
                yield Sighting(gpu=record.gpu, actor=actor, family=Family.DRIVER, strength=Strength.USE)
        case Container():
            yield from _told_by_engine(record)
        case Entered():
            yield Sighting(gpu="", actor=record.actor, family=Family.PROCFS, strength=Strength.USE, entered=True)


def _told_by_engine(record: Container) -> Iterator[Sighting]:
    """A foreign container that is given a GPU; or an exec into the booked one for which there is no receipt."""
    if not record.booked:
        strength = Strength.STOPPED if record.refused else Strength.ATTEMPT
        for gpu in record.gpus:
            yield Sighting(gpu=gpu, actor=record.actor, family=Family.ENGINE, strength=strength)
    elif record.action == "exec" and record.receipt is None and not record.refused:
        yield Sighting(gpu="", actor=record.actor, family=Family.ENGINE, strength=Strength.USE, entered=True)


def _told_by_driver(record: Driver | Accounting) -> Iterator[Actor]:
    """Each process in the driver's lists, once."""
    rows = (*record.rows, *record.busy) if isinstance(record, Driver) else record.rows
    yield from dict.fromkeys(row.actor for row in rows)
