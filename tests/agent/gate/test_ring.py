"""Reading a ring: what a writer put in comes out, in order, over the wrap, up to what is not finished yet."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from agent.gate import bpf
from agent.gate.event import EVENT, FOREVER_NS, At, Counter, Event, Flag, Mode, Settings, Verdict
from agent.gate.ring import BUSY, DISCARDED, records
from tests.fakes.gates import Place

SIZE = 256


@dataclass(slots=True)
class Writer:
    """The kernel's end, in memory that lies twice in a row, as it is mapped."""

    data: bytearray = field(default_factory=lambda: bytearray(2 * SIZE))
    position: int = 0

    def write(self, record: bytes, flags: int = 0) -> None:
        whole = struct.pack("<II", len(record) | flags, 0) + record
        for offset, byte in enumerate(whole):
            at = (self.position + offset) % SIZE
            self.data[at] = self.data[SIZE + at] = byte
        self.position += -(-len(whole) // 8) * 8

    def read(self, position: int) -> tuple[list[bytes | None], int]:
        found = list(records(memoryview(self.data), position, self.position))
        return [record for record, _ in found], found[-1][1] if found else position


contents = st.binary(max_size=40)
flags = st.sampled_from([0, 0, 0, DISCARDED])


@given(st.lists(st.lists(st.tuples(contents, flags), max_size=5), max_size=12), st.integers(0, 1 << 40))
def test_what_is_written_is_read_however_often_it_wraps(batches: list[list[tuple[bytes, int]]], start: int) -> None:
    writer = Writer(position=start * 8)
    position = writer.position
    for batch in batches:
        for record, flag in batch:
            writer.write(record, flag)
        found, position = writer.read(position)
        assert found == [None if flag else record for record, flag in batch]
        assert position == writer.position


@given(st.lists(contents, max_size=3), contents, st.lists(contents, max_size=2))
def test_it_waits_for_the_first_that_is_still_being_written(
    before: list[bytes], busy: bytes, after: list[bytes]
) -> None:
    writer = Writer()
    for record in before:
        writer.write(record)
    stops = writer.position
    writer.write(busy, BUSY)
    for record in after:
        writer.write(record)
    assert writer.read(0) == (before, stops)


@given(
    st.binary(min_size=16, max_size=16), st.integers(0, (1 << 64) - 1), st.sampled_from(Verdict), st.sampled_from(Mode)
)
def test_an_event_is_decoded(comm: bytes, at_ns: int, verdict: Verdict, mode: Mode) -> None:
    raw = bytearray(EVENT.pack(9, 8, 10, 11, 195, 3, 6, verdict, mode, 0, at_ns, 12, 13, 14, 15, 1, comm))
    event = Event.decode(bytes(raw))
    assert (event.opening.cgroup_id, event.opening.started_ns, event.opening.pid) == (9, 8, 10)
    assert (event.opening.verdict, event.opening.mode) == (verdict, mode)
    assert (event.at_ns, event.sequence, event.openings, event.listed_id, event.tid) == (at_ns, 12, 13, 14, 15)
    assert event.flags is Flag.HELD
    assert "\0" not in event.comm
    assert struct.unpack_from("<Q", raw, At.OPENINGS)[0] == 13


def test_who_stops_reading_finds_the_last_one_again(place: Place) -> None:
    with place.gate() as gate:
        place.run("forks", "3")
        first = next(gate.events())
        again = list(gate.events())
    assert again[0] == first
    assert len(again) == 3


def test_it_can_be_waited_for(place: Place) -> None:
    with place.gate() as gate:
        assert not gate.wait(0)
        opener = place.start("keep")
        assert gate.wait(60)
        assert next(gate.events()).opening.pid == opener.pid
        opener.end()


def test_it_reads_on_over_many_wraps_of_the_kernels_ring(place: Place) -> None:
    with place.gate(ring_bytes=4096) as gate:
        sequences = []
        for _ in range(12):
            place.run("forks", "30")
            sequences += [event.sequence for event in gate.events()]
        assert sequences == list(range(360))
        assert gate.health().unread_bytes == 0


def test_while_many_write_each_event_is_read_once_or_counted_as_lost(place: Place) -> None:
    settings = Settings(mode=Mode.OBSERVE, lease_until_ns=FOREVER_NS, merge_ns=0)
    with place.gate(ring_bytes=1 << 16, settings=settings) as gate:
        openers = [place.start("flood", "5000") for _ in range(4)]
        events: list[Event] = []
        while any(opener.process.poll() is None for opener in openers):
            gate.wait(0.05)
            events += gate.events()
        events += gate.events()
        counters = gate.counters()
    assert counters[Counter.OBSERVED] == counters[Counter.EMITTED] == 20_000
    assert len(events) + counters[Counter.LOST] == 20_000
    assert len({event.sequence for event in events}) == len(events)
    for opener in openers:
        openings = [event.openings for event in events if event.opening.pid == opener.pid]
        assert openings == sorted(set(openings))


def test_two_mappings_of_the_data_lie_in_a_row(place: Place) -> None:
    with place.gate(ring_bytes=4096) as gate:
        place.run("once")
        data = mmap.mmap(gate.fileno(), mmap.PAGESIZE + 8192, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)
        page = mmap.PAGESIZE
        assert data[page : page + 4096] == data[page + 4096 :]
        assert os.fstat(gate.fileno())
        assert bpf.map_info(gate.fileno()).entries == 4096
        data.close()
