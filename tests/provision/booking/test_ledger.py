"""What the ledger keeps and refuses, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.booking.errors import ClaimConflict, IllegalTransition, NameTaken, NoSuchBooking, NotLive
from provision.booking.ledger import Ledger
from provision.booking.model import Booking, BookingState, EventLine
from provision.errors import InvalidInput, NoCapacity

S = BookingState
FAR_NS = 2_000_000_000 * 10**9  # far beyond 32 bits, and odd in its last digits below


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger(url) as opened:
        yield opened


def accept(ledger: Ledger, name: str, start_ns: int = 100, end_ns: int = 200) -> Booking:
    return ledger.accept(name, f"name: {name}", "digest", start_ns, end_ns, "image@sha256:1", 50)


def walk(ledger: Ledger, booking: Booking, *states: BookingState) -> Booking:
    for state in states:
        booking = ledger.transition(booking.id, state, "test", "walk", 60)
    return booking


class TestBookings:
    def test_an_accepted_booking_is_found_by_name_and_id_as_it_was_entered(self, ledger: Ledger) -> None:
        booking = ledger.accept("demo", "text", "digest", FAR_NS + 1, FAR_NS + 3, "image", FAR_NS - 1)

        assert booking.state is S.REQUESTED
        assert booking.live
        assert (booking.start_ns, booking.end_ns, booking.created_ns) == (FAR_NS + 1, FAR_NS + 3, FAR_NS - 1)
        assert ledger.booking("demo") == ledger.booking(booking.id) == booking

    def test_the_plan_comes_back_byte_for_byte(self, ledger: Ledger) -> None:
        booking = accept(ledger, "demo")
        plan = bytes(range(256))
        ledger.set_plan(booking.id, plan)
        assert ledger.booking("demo").plan == plan

    def test_a_live_name_is_taken_and_a_released_one_is_free(self, ledger: Ledger) -> None:
        first = accept(ledger, "demo")
        with pytest.raises(NameTaken, match="demo"):
            accept(ledger, "demo")
        walk(ledger, first, S.RELEASED)
        second = accept(ledger, "demo")
        assert ledger.booking("demo") == second
        assert [booking.id for booking in ledger.bookings(live_only=False)] == [first.id, second.id]
        assert [booking.id for booking in ledger.bookings()] == [second.id]

    def test_the_newest_of_ended_bookings_is_found_by_name(self, ledger: Ledger) -> None:
        walk(ledger, accept(ledger, "demo"), S.RELEASED)
        newest = walk(ledger, accept(ledger, "demo"), S.FAILED)
        assert ledger.booking("demo") == newest

    def test_the_smallest_free_slot_is_given(self, ledger: Ledger) -> None:
        slots = [accept(ledger, name) for name in ("a", "b", "c")]
        assert [booking.slot for booking in slots] == [0, 1, 2]
        walk(ledger, slots[1], S.RELEASED)
        assert accept(ledger, "d").slot == 1
        assert accept(ledger, "e").slot == 3

    def test_what_is_unknown_is_said_to_be(self, ledger: Ledger) -> None:
        assert ledger.find("nobody") is None
        for call in (
            lambda: ledger.booking("nobody"),
            lambda: ledger.transition(7, S.PLANNED, "a", "r", 1),
            lambda: ledger.claim(7, [("g", "h")], 1, 2),
            lambda: ledger.release_claims(7, 1),
            lambda: ledger.set_plan(7, b""),
            lambda: ledger.event(7, "a", "t", "o", "n", "r", 1),
            lambda: ledger.set_journal_offset(7, 1),
            lambda: ledger.quarantine("h", "r", (), 7, 1),
        ):
            with pytest.raises(NoSuchBooking, match=r"nobody|7"):
                call()

    @pytest.mark.parametrize(("start_ns", "end_ns"), [(5, 5), (6, 5), (-1, 5)])
    def test_a_window_without_length_is_refused(self, ledger: Ledger, start_ns: int, end_ns: int) -> None:
        with pytest.raises(InvalidInput, match="start < end"):
            accept(ledger, "demo", start_ns, end_ns)


class TestTransitions:
    def test_each_arrow_is_one_event_line(self, ledger: Ledger) -> None:
        booking = accept(ledger, "demo")
        ledger.transition(booking.id, S.PLANNED, "alice", "2 hosts", 77)
        entered, planned = ledger.events(booking.id)
        assert (entered.line.old, entered.line.new) == ("", "REQUESTED")
        assert planned.line == EventLine(
            time_ns=77, actor="alice", target="demo", old="REQUESTED", new="PLANNED", reason="2 hosts"
        )

    def test_an_arrow_that_is_not_drawn_is_refused_and_leaves_no_line(self, ledger: Ledger) -> None:
        booking = accept(ledger, "demo")
        with pytest.raises(IllegalTransition, match="REQUESTED → ACTIVE"):
            walk(ledger, booking, S.ACTIVE)
        assert ledger.booking("demo").state is S.REQUESTED
        assert len(ledger.events(booking.id)) == 1

    def test_a_booking_that_is_not_where_it_was_believed_stays(self, ledger: Ledger) -> None:
        booking = walk(ledger, accept(ledger, "demo"), S.PLANNED)
        with pytest.raises(IllegalTransition, match="expected it to be REQUESTED"):
            ledger.transition(booking.id, S.FAILED, "a", "r", 1, expected=S.REQUESTED)
        assert ledger.transition(booking.id, S.FAILED, "a", "r", 1, expected=S.PLANNED).state is S.FAILED

    def test_release_is_refused_while_claims_are_held(self, ledger: Ledger) -> None:
        booking = walk(ledger, accept(ledger, "demo"), S.PLANNED)
        ledger.claim(booking.id, [("g", "h")], 100, 200)
        with pytest.raises(IllegalTransition, match="still holds claims"):
            walk(ledger, booking, S.RELEASED)
        ledger.release_claims(booking.id, 70)
        assert not walk(ledger, booking, S.RELEASED).live

    def test_a_failed_booking_without_claims_is_over(self, ledger: Ledger) -> None:
        booking = walk(ledger, accept(ledger, "demo"), S.FAILED)
        assert booking.ended_ns == 60
        with pytest.raises(IllegalTransition):
            walk(ledger, booking, S.CLOSING)

    def test_a_failed_booking_keeps_name_and_slot_until_its_claims_are_given_back(self, ledger: Ledger) -> None:
        booking = walk(ledger, accept(ledger, "demo"), S.PLANNED)
        ledger.claim(booking.id, [("g", "h")], 100, 200)
        assert walk(ledger, booking, S.FAILED).live
        with pytest.raises(NameTaken):
            accept(ledger, "demo")
        assert ledger.release_claims(booking.id, 70) == 1
        assert ledger.booking("demo").ended_ns == 70
        assert accept(ledger, "demo").slot == booking.slot

    def test_the_cleanup_of_a_failed_booking_ends_released(self, ledger: Ledger) -> None:
        booking = walk(ledger, accept(ledger, "demo"), S.PLANNED)
        ledger.claim(booking.id, [("g", "h")], 100, 200)
        walk(ledger, booking, S.CLAIMED, S.PROVISIONING, S.FAILED, S.CLOSING, S.CLOSING, S.SETTLED)
        ledger.release_claims(booking.id, 70)
        assert walk(ledger, booking, S.RELEASED).ended_ns == 60

    def test_nothing_is_done_in_the_name_of_a_booking_that_is_over(self, ledger: Ledger) -> None:
        booking = walk(ledger, accept(ledger, "demo"), S.RELEASED)
        for call in (
            lambda: ledger.claim(booking.id, [("g", "h")], 100, 200),
            lambda: ledger.replace_claims(booking.id, [], [("g", "h")]),
            lambda: ledger.extend_claims(booking.id, 300),
            lambda: ledger.set_plan(booking.id, b"plan"),
        ):
            with pytest.raises(NotLive, match="RELEASED"):
                call()


class TestClaims:
    def test_claims_that_touch_do_not_overlap(self, ledger: Ledger) -> None:
        first, second = accept(ledger, "a"), accept(ledger, "b")
        ledger.claim(first.id, [("g", "h")], 100, 200)
        ledger.claim(second.id, [("g", "h")], 200, 300)
        assert ledger.taken(0, 100) == ledger.taken(300, 400) == frozenset()
        assert ledger.taken(199, 200) == ledger.taken(200, 201) == {"g"}

    def test_who_comes_next_on_a_gpu_is_told_who_is_still_in_front(self, ledger: Ledger) -> None:
        first, second, third = (accept(ledger, name) for name in "abc")
        ledger.claim(first.id, [("g1", "h1"), ("g2", "h1")], 100, 200)
        ledger.claim(second.id, [("g1", "h1"), ("g3", "h3")], 200, 300)
        ledger.claim(third.id, [("g3", "h3")], 300, 400)
        assert ledger.in_front(first.id) == ()
        assert [(claim.booking, claim.gpu_uuid) for claim in ledger.in_front(second.id)] == [("a", "g1")]
        assert [claim.booking for claim in ledger.in_front(third.id)] == ["b"]
        ledger.release_claims(first.id, 200)
        assert ledger.in_front(second.id) == ()

    def test_a_conflict_names_gpus_and_holders_and_holds_nothing(self, ledger: Ledger) -> None:
        first, second, third = (accept(ledger, name) for name in "abc")
        ledger.claim(first.id, [("g1", "h1")], 100, 200)
        ledger.claim(second.id, [("g2", "h2")], 150, 250)
        with pytest.raises(ClaimConflict, match="g1 on h1 by booking 'a'; g2 on h2 by booking 'b'") as refused:
            ledger.claim(third.id, [("g3", "h3"), ("g2", "h2"), ("g1", "h1")], 120, 180)
        assert refused.value.gpus == ("g1", "g2")
        assert refused.value.by == ("a", "b")
        assert isinstance(refused.value, NoCapacity)
        assert ledger.claims(third.id) == ()

    def test_claiming_again_what_is_held_changes_nothing(self, ledger: Ledger) -> None:
        booking = accept(ledger, "a")
        gpus = [("g2", "h"), ("g1", "h")]
        held = ledger.claim(booking.id, gpus, 100, 200)
        assert [claim.gpu_uuid for claim in held] == ["g1", "g2"]
        assert ledger.claim(booking.id, [*gpus, ("g3", "h")], 100, 200)[:2] == held
        with pytest.raises(ClaimConflict) as refused:
            ledger.claim(booking.id, [("g1", "h")], 200, 300)
        assert refused.value.by == ("a",)

    def test_one_gpu_on_two_hosts_is_a_mistake_of_the_caller(self, ledger: Ledger) -> None:
        with pytest.raises(ValueError, match="one host"):
            ledger.claim(accept(ledger, "a").id, [("g", "h1"), ("g", "h2")], 100, 200)

    def test_a_replacement_is_all_or_nothing(self, ledger: Ledger) -> None:
        first, second = accept(ledger, "a"), accept(ledger, "b")
        ledger.claim(first.id, [("g1", "h1"), ("g2", "h2")], 100, 200)
        ledger.claim(second.id, [("g3", "h3")], 100, 200)
        before = ledger.claims(first.id)
        with pytest.raises(ClaimConflict):
            ledger.replace_claims(first.id, ["g1"], [("g3", "h3"), ("g4", "h4")])
        assert ledger.claims(first.id) == before
        after = ledger.replace_claims(first.id, ["g1", "gone"], [("g4", "h4")], start_ns=150)
        assert [(claim.gpu_uuid, claim.start_ns, claim.end_ns) for claim in after] == [
            ("g2", 100, 200),
            ("g4", 150, 200),
        ]

    def test_a_replacement_gives_back_nothing_of_others(self, ledger: Ledger) -> None:
        first, second = accept(ledger, "a"), accept(ledger, "b")
        ledger.claim(second.id, [("g3", "h3")], 100, 200)
        ledger.replace_claims(first.id, ["g3"], [])
        assert len(ledger.claims(second.id)) == 1

    def test_extension_moves_booking_and_claims(self, ledger: Ledger) -> None:
        booking = accept(ledger, "a")
        ledger.claim(booking.id, [("g1", "h"), ("g2", "h")], 100, 200)
        assert ledger.extend_claims(booking.id, 250).end_ns == 250
        assert {claim.end_ns for claim in ledger.claims(booking.id)} == {250}
        assert ledger.extend_claims(booking.id, 250).end_ns == 250

    def test_extension_into_another_claim_is_refused_whole(self, ledger: Ledger) -> None:
        first, second = accept(ledger, "a"), accept(ledger, "b")
        ledger.claim(first.id, [("g1", "h"), ("g2", "h")], 100, 200)
        ledger.claim(second.id, [("g2", "h")], 220, 300)
        assert ledger.extend_claims(first.id, 220).end_ns == 220
        with pytest.raises(ClaimConflict) as refused:
            ledger.extend_claims(first.id, 221)
        assert (refused.value.gpus, refused.value.by) == (("g2",), ("b",))
        assert ledger.booking("a").end_ns == 220
        assert {claim.end_ns for claim in ledger.claims(first.id)} == {220}

    def test_an_end_is_not_moved_earlier(self, ledger: Ledger) -> None:
        with pytest.raises(InvalidInput, match="not before 1970-01-01T"):
            ledger.extend_claims(accept(ledger, "a").id, 199)

    def test_what_was_not_given_back_in_time_is_overdue(self, ledger: Ledger) -> None:
        booking = accept(ledger, "a")
        ledger.claim(booking.id, [("g", "h")], 100, 200)
        assert ledger.overdue(199) == frozenset()
        assert ledger.overdue(200) == {"g"}
        ledger.release_claims(booking.id, 201)
        assert ledger.overdue(300) == frozenset()

    def test_a_thousand_gpus_are_held_at_once(self, ledger: Ledger) -> None:
        booking = accept(ledger, "a")
        held = ledger.claim(booking.id, [(f"g{number}", "h") for number in range(1000)], 100, 200)
        assert len(held) == len(ledger.taken(100, 101)) == 1000
        assert ledger.release_claims(booking.id, 201) == 1000


class TestEvents:
    def test_events_are_read_from_where_one_stopped(self, ledger: Ledger) -> None:
        first, second = accept(ledger, "a"), accept(ledger, "b")
        ledger.event(first.id, "alice", "lab-a1", "", "lost", "no answer", FAR_NS + 1)
        ledger.event(None, "alice", "serve", "stopped", "started", "", 5)
        every = ledger.events()
        assert [event.booking_id for event in every] == [first.id, second.id, first.id, None]
        assert every[2].line.time_ns == FAR_NS + 1
        assert ledger.events(first.id, after_seq=every[0].seq) == (every[2],)
        assert ledger.events(after_seq=every[-1].seq) == ()

    def test_the_journal_s_offset_and_its_events_are_kept_together(self, ledger: Ledger) -> None:
        booking = accept(ledger, "a")
        line = EventLine(time_ns=1, actor="worker", target="h", old="", new="ok", reason="")
        ledger.set_journal_offset(booking.id, 2**40, [line, line])
        assert ledger.journal_offset(booking.id) == 2**40
        assert [event.line for event in ledger.events(booking.id)[1:]] == [line, line]


class TestQuarantine:
    def test_debts_add_up_until_the_host_is_restored(self, ledger: Ledger) -> None:
        first, second = accept(ledger, "a"), accept(ledger, "b")
        ledger.quarantine("h", "unreachable", ("engine",), first.id, 10)
        ledger.quarantine("h", "unreachable", ("engine", "mesh"), first.id, 20)
        ledger.quarantine("h", "changed host key", (), second.id, 30)
        ledger.quarantine("other", "by hand", (), None, 40)
        found = ledger.quarantined()
        assert list(found) == ["h", "other"]
        assert found["h"].owed == ("engine", "mesh")
        assert found["h"].reason == "unreachable; changed host key"
        assert [debt.booking_id for debt in found["h"].debts] == [first.id, second.id]

        assert ledger.restore("h", "alice", "erased", 50) == found["h"]
        assert ledger.restore("h", "alice", "erased", 60) is None
        assert list(ledger.quarantined()) == ["other"]

    def test_each_booking_concerned_has_the_lines(self, ledger: Ledger) -> None:
        booking = accept(ledger, "a")
        for now_ns in (10, 11):
            ledger.quarantine("h", "unreachable", ("engine",), booking.id, now_ns, actor="bob")
        ledger.restore("h", "alice", "erased", 50)
        lines = [event.line for event in ledger.events(booking.id)[1:]]
        assert [(line.actor, line.old, line.new) for line in lines] == [
            ("bob", "", "QUARANTINED"),
            ("alice", "QUARANTINED", ""),
        ]

    def test_a_released_booking_s_host_still_owes(self, ledger: Ledger) -> None:
        booking = walk(ledger, accept(ledger, "a"), S.RELEASED)
        ledger.quarantine("h", "unreachable", ("engine",), booking.id, 70)
        assert ledger.quarantined()["h"].owed == ("engine",)
