"""What one boot of a host was seen to be: records in, one by one; out come watched time and sightings.

Records are not kept: a day of them passes through in the memory of one. Which sources must watch, and how closely, says
the grant; what follows from all this is `proofs.verdict`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from proofs import records, spans
from proofs.actors import Census
from proofs.errors import Flaw, Rejected
from proofs.records import AnyRecord
from proofs.sightings import Sighting, Strength, held_against, sightings
from proofs.spans import Span, Spans
from proofs.statement import Grant

CANARY_GAP_NS = 120 * 10**9
"""At most between two canaries that the gate has seen."""
SOURCES = frozenset({"gate", "scan", "driver", "accounting", "engine"})
"""The sources that a grant may require."""
_PER_GPU = frozenset({"driver", "accounting"})


@dataclass(slots=True)
class Track:
    """The time that one source has watched: between two signs of life that are close enough and of one state.

    A source that is read now and then has a state that says whether it was read; one of events has one that changes
    whenever anything may have been missed. None stands for a sign that it does not work.
    """

    limit_ns: int
    watched: list[Span] = field(default_factory=list)
    _begun_ns: int = 0
    _at_ns: int = 0
    _state: object = None

    def take(self, begun_ns: int, at_ns: int, state: object) -> None:
        """Note a sign of life, of a reading that was begun at `begun_ns` and ended at `at_ns`."""
        if state is not None and state == self._state and at_ns - self._begun_ns <= self.limit_ns:
            if self.watched and self.watched[-1][1] == self._at_ns:
                self.watched[-1] = (self.watched[-1][0], at_ns)
            else:
                self.watched.append((self._at_ns, at_ns))
        self._begun_ns, self._at_ns, self._state = begun_ns, at_ns, state


class Observation:
    """All that the records of one boot say."""

    def __init__(self, grant: Grant, gpus: tuple[str, ...]) -> None:
        self._grant = grant
        self._gpus = frozenset(gpus)
        self._census = Census()
        self._tracks: dict[tuple[str, str], Track] = {}
        self._canaries = Track(limit_ns=CANARY_GAP_NS)
        self._sightings: list[Sighting] = []
        self._firsts: dict[str, tuple[Sighting, ...]] = {}
        self._nobody: dict[str, object] = {}
        self._looks: dict[str, _Looks] = {gpu: _Looks() for gpu in gpus}
        self._last_ns = 0

    def take(self, record: AnyRecord, where: str) -> None:
        """Take in one record.

        Raises:
            Rejected: RECORD, when it speaks of a GPU that is not booked, or contradicts those before it.
        """
        self._last_ns = record.at_ns
        taker = _TAKERS.get(type(record))
        if taker is not None:
            taker(self, record)
        else:
            self._census.learn(record, where)
            self._nobody.clear()  # who is who may be another matter now
        if type(record) in _TELLING:
            self._look(record, where)

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """Those that say something against somebody."""
        return held_against(self._sightings)

    @property
    def at_first(self) -> Sighting | None:
        """Somebody foreign in the first look of the scan, or of the driver at a GPU."""
        return next((found for first in self._firsts.values() for found in first), None)

    def watched(self, gpu: str) -> Spans:
        """The time of the boot's clock in which all required sources watched this GPU, and nothing was unexplained."""
        whole: Spans = ((0, self._last_ns + 1),)
        for source in self._grant.required:
            track = self._tracks.get((source, gpu if source in _PER_GPU else ""))
            whole = spans.intersection(whole, spans.union(track.watched) if track else ())
            if source == "gate":
                whole = spans.intersection(whole, spans.union(self._canaries.watched))
        return spans.difference(whole, self._tainted(gpu))

    def _look(self, record: AnyRecord, where: str) -> None:
        """What the record says of somebody; and whether scan and driver both see nobody foreign now."""
        told = _told(record)
        if told is not None and self._nobody.get(told[0]) == told[1]:
            self._settle(record, ())  # word for word what has already been found to be nobody foreign
            return
        for gpu in _gpus_of(record):
            if gpu not in self._gpus:
                raise Rejected(Flaw.RECORD, where, f"speaks of GPU {gpu}, which is not booked there")
        found = tuple(sightings(record, self._census))
        self._sightings += found
        if told is not None and not found:
            self._nobody[told[0]] = told[1]
        self._settle(record, held_against(found))

    def _settle(self, record: AnyRecord, against: tuple[Sighting, ...]) -> None:
        """Note who was seen, and by what clean look a GPU is clean again."""
        if isinstance(record, records.Scan):
            self._firsts.setdefault("scan", against)
            for gpu, looks in self._looks.items():
                looks.scan(record.at_ns, clean=not any(each.gpu == gpu for each in against))
        elif isinstance(record, records.Driver):
            self._firsts.setdefault(record.gpu, against)
            self._looks[record.gpu].driver(record.at_ns, clean=not against)
        for each in against:
            if each.strength is not Strength.STOPPED:
                for gpu in (each.gpu,) if each.gpu else self._gpus:
                    self._looks[gpu].soil(each.at_ns)

    def _tainted(self, gpu: str) -> Spans:
        """From each unstopped sighting until scan and driver have both found nobody foreign."""
        return spans.union(self._looks[gpu].tainted(self._last_ns + 1))

    def _track(self, source: str, gpu: str = "") -> Track:
        found = self._tracks.get((source, gpu))
        if found is None:
            found = self._tracks[source, gpu] = Track(limit_ns=self._grant.limits.sample_gap_ns)
        return found

    def _gate(self, record: records.Gate) -> None:
        state = (record.link, record.program, record.lost) if record.mode == self._grant.mode else None
        self._track("gate").take(record.at_ns, record.at_ns, state)

    def _canary(self, record: records.Canary) -> None:
        self._canaries.take(record.at_ns, record.at_ns, "seen" if record.seen else None)

    def _scan(self, record: records.Scan) -> None:
        self._track("scan").take(record.begun_ns, record.at_ns, "read")

    def _driver(self, record: records.Driver) -> None:
        self._track("driver", record.gpu).take(record.begun_ns, record.at_ns, record.epoch)

    def _accounting(self, record: records.Accounting) -> None:
        self._track("accounting", record.gpu).take(record.at_ns, record.at_ns, None if record.full else record.epoch)

    def _watch(self, record: records.Watch) -> None:
        self._track(record.source).take(record.at_ns, record.at_ns, (record.connection, record.lost))

    def _down(self, record: records.Down) -> None:
        for gpu in self._gpus if record.source in _PER_GPU else ("",):
            self._track(record.source, gpu).take(record.at_ns, record.at_ns, None)


@dataclass(slots=True)
class _Looks:
    """When a GPU was soiled by a sighting, and clean again by what scan and driver last saw."""

    _scan_clean: bool = False
    _driver_clean: bool = False
    _soiled_ns: int | None = None
    _spans: list[Span] = field(default_factory=list)

    def scan(self, at_ns: int, *, clean: bool) -> None:
        self._scan_clean = clean
        self._settle(at_ns)

    def driver(self, at_ns: int, *, clean: bool) -> None:
        self._driver_clean = clean
        self._settle(at_ns)

    def soil(self, at_ns: int) -> None:
        """Somebody was seen: what scan and driver saw before says nothing any more."""
        self._scan_clean = self._driver_clean = False
        if self._soiled_ns is None:
            self._soiled_ns = at_ns

    def tainted(self, end_ns: int) -> Iterator[Span]:
        yield from self._spans
        if self._soiled_ns is not None:
            yield (self._soiled_ns, end_ns)

    def _settle(self, at_ns: int) -> None:
        if self._soiled_ns is not None and self._scan_clean and self._driver_clean:
            self._spans.append((self._soiled_ns, at_ns))
            self._soiled_ns = None


def _told(record: AnyRecord) -> tuple[str, object] | None:
    """Of a look that is repeated all the time: which one it is, and whom it found."""
    if isinstance(record, records.Driver):
        return (record.gpu, (record.rows, record.busy))
    return ("", record.holding) if isinstance(record, records.Scan) else None


def _gpus_of(record: AnyRecord) -> Iterator[str]:
    if isinstance(record, records.Scan):
        yield from (holding.gpu for holding in record.holding)
    elif isinstance(record, records.Container):
        yield from record.gpus
    elif not isinstance(record, records.Entered):
        yield record.gpu  # type: ignore[union-attr]


_Taker = Callable[[Observation, Any], None]
_TAKERS: dict[type, _Taker] = {
    records.Gate: Observation._gate,
    records.Canary: Observation._canary,
    records.Scan: Observation._scan,
    records.Driver: Observation._driver,
    records.Accounting: Observation._accounting,
    records.Watch: Observation._watch,
    records.Down: Observation._down,
}
_TELLING = frozenset(
    {
        *(records.Opened, records.Held, records.Scan, records.Driver),
        *(records.Accounting, records.Container, records.Entered, records.Canary),
    }
)
