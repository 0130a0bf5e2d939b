"""What one host's agent said, and what the witness confirmed of it: everything that signatures and order can tell.

Nothing is judged here. What comes out is true in this sense: these records were there, in this order, when the witness
countersigned; nobody removed, changed or added one since.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proofs import chain, envelope, records, statement
from proofs.clock import Anchor
from proofs.envelope import Envelope
from proofs.errors import Flaw, Rejected
from proofs.keys import PublicKey
from proofs.observation import Observation
from proofs.statement import Close, Countersignature, Grant, Heartbeat, Opening, Word
from proofs.trust import Keyring

MOST_RECORDS = 100_000
"""Between two heartbeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An envelope as it was received, and its digest."""

    data: bytes
    where: str

    @property
    def envelope(self) -> Envelope:
        """The envelope."""
        return envelope.decode(self.data, self.where)

    @property
    def digest(self) -> str:
        """By which others name it."""
        return envelope.digest(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A heartbeat or close, and its countersignature."""

    said: Signed
    confirmed: Signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One boot of the host: what was observed in it, and the anchors of its clock."""

    boot_id: str
    observation: Observation
    anchors: list[Anchor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """What a host's records say under its last countersigned head, boot by boot, and how many records that are."""

    lives: tuple[Life, ...]
    count: int
    closed: bool
    last_witnessed_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Court:
    """Who may speak, and of what: the grant and its digest, the agent's key and GPUs, the witness's keys."""

    grant: Grant
    grant_digest: str
    agent: PublicKey
    gpus: tuple[str, ...]
    keyring: Keyring


def hear(court: Court, opening: Signed, beats: Iterable[Pair], close: Pair | None, lines: Iterable[bytes]) -> Testimony:
    """Check all signatures, nonces, heads and orders, and take in each record on the way.

    Raises:
        Rejected: with the first thing that is wrong.
    """
    hearing = _Hearing(court, opening, iter(lines))
    for beat in beats:
        hearing.word(beat, Heartbeat)
    if close is not None:
        hearing.word(close, Close)
        hearing.expect_end(close.said.where)
    return hearing.testimony(closed=close is not None)


class _Hearing:
    """The state of a hearing: how far the chain has come, and the last words of agent and witness."""

    def __init__(self, court: Court, opening: Signed, lines: Iterator[bytes]) -> None:
        self._court = court
        self._lines = lines
        self._head = chain.genesis(bytes.fromhex(court.grant_digest), court.agent.keyid)
        opened = self._opened(opening)
        self._nonce, self._witnessed_ns, self._sequence = opened.nonce, opened.at_ns, -1
        self._number = 0
        self._lives: list[Life] = []
        self._record_ns = self._beat_ns = 0

    def word(self, pair: Pair, kind: type[Word]) -> None:
        """Hear one countersigned word of the agent, and the records that it covers."""
        where = pair.said.where
        said = self._said(pair.said, kind)
        if said.number != self._number:
            raise Rejected(Flaw.ORDER, where, f"expected number {self._number}, found {said.number}")
        if said.nonce != self._nonce:
            raise Rejected(Flaw.NONCE, where, "carries another nonce than the one it was given")
        self._follow(said, where)
        confirmed = self._confirmed(pair)
        self._lives[-1].anchors.append(
            Anchor(boot_ns=said.at_ns, after_ns=self._witnessed_ns, before_ns=confirmed.at_ns)
        )
        self._number += 1
        self._beat_ns = said.at_ns
        self._nonce, self._witnessed_ns, self._sequence = confirmed.nonce, confirmed.at_ns, confirmed.sequence

    def expect_end(self, where: str) -> None:
        """Nothing comes after the close."""
        if next(self._lines, None) is not None:
            raise Rejected(Flaw.CLOSED, where, f"closed after {self._head.count} records, but there are more")

    def testimony(self, *, closed: bool) -> Testimony:
        """All that was heard; records beyond the last countersigned head are not counted."""
        for _ in self._lines:
            pass
        return Testimony(
            lives=tuple(self._lives), count=self._head.count, closed=closed, last_witnessed_ns=self._witnessed_ns
        )

    def _opened(self, opening: Signed) -> Opening:
        envelope_ = opening.envelope
        opened, _ = statement.decode(envelope_.payload, Opening, opening.where)
        self._court.keyring.require(envelope_, "witness", opened.at_ns, opening.where)
        self._require_ours(opened.grant, opening.where)
        if opened.agent != self._court.agent.keyid:
            raise Rejected(Flaw.WITNESS, opening.where, "opened for another agent")
        return opened

    def _said(self, signed: Signed, kind: type[Word]) -> Word:
        found = signed.envelope
        envelope.require(found, {self._court.agent.keyid: self._court.agent}, 1, signed.where)
        said, subject = statement.decode(found.payload, kind, signed.where)
        self._require_ours(said.grant, signed.where)
        if subject != said.head:
            raise Rejected(Flaw.STATEMENT, signed.where, "its subject is another head than the one it states")
        return said

    def _confirmed(self, pair: Pair) -> Countersignature:
        """The countersignature of what was said: of this very envelope, later than the last, in the witness's order."""
        where = pair.confirmed.where
        found = pair.confirmed.envelope
        word, subject = statement.decode(found.payload, Countersignature, where)
        self._court.keyring.require(found, "witness", word.at_ns, where)
        self._require_ours(word.grant, where)
        if not word.of == subject == pair.said.digest:
            raise Rejected(Flaw.WITNESS, where, "countersigns something else")
        if word.at_ns < self._witnessed_ns or word.sequence <= self._sequence:
            raise Rejected(Flaw.WITNESS, where, "countersigned before the one before it")
        return word

    def _require_ours(self, grant: str, where: str) -> None:
        if grant != self._court.grant_digest:
            raise Rejected(Flaw.BOOKING, where, "belongs to another grant")

    def _follow(self, said: Word, where: str) -> None:
        """Take in the records up to what was said, which must be those that it speaks of, and made before it."""
        if said.count < self._head.count:
            raise Rejected(Flaw.CHAIN, where, f"speaks of {said.count} records after {self._head.count}")
        if said.count - self._head.count > MOST_RECORDS:
            raise Rejected(Flaw.SIZE, where, f"expected at most {MOST_RECORDS} records since the last, found more")
        first, fresh = self._head.count, list(itertools.islice(self._lines, said.count - self._head.count))
        self._head = self._head.after(fresh)
        if self._head.count != said.count or self._head.digest.hex() != said.head:
            raise Rejected(Flaw.CHAIN, where, f"the first {said.count} records are not those it speaks of")
        for number, line in enumerate(fresh, first):
            self._record(line, number)
        if not self._lives or self._lives[-1].boot_id != said.boot_id:
            raise Rejected(Flaw.ORDER, where, "made in another boot than the last record it speaks of")
        if said.at_ns < self._record_ns:
            raise Rejected(Flaw.ORDER, where, "made before a record that it speaks of")
        if self._lives[-1].anchors and said.at_ns <= self._beat_ns:
            raise Rejected(Flaw.ORDER, where, "made before the heartbeat before it, by the host's own clock")

    def _record(self, line: bytes, number: int) -> None:
        """Take in one record: each boot begins with a Boot record, and its clock never goes back."""
        where = f"record {number}"
        record = records.decode(line, where)
        if isinstance(record, records.Boot) and (not self._lives or self._lives[-1].boot_id != record.boot_id):
            observation = Observation(self._court.grant, self._court.gpus)
            self._lives.append(Life(boot_id=record.boot_id, observation=observation, anchors=[]))
        elif not self._lives:
            raise Rejected(Flaw.RECORD, where, "expected the record of a boot first")
        elif record.at_ns < self._record_ns:
            raise Rejected(Flaw.ORDER, where, "made before the record before it, by the host's own clock")
        self._record_ns = record.at_ns
        self._lives[-1].observation.take(record, where)
