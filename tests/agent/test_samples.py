"""The cursor of utilisation samples."""

from hypothesis import given
from hypothesis import strategies as st

from agent.readings import UtilisationRow
from agent.samples import AHEAD_LIMIT_US, PID_LIMIT, advance, begin_anew

NOW_US = 1_800_000_000_000_000


def row(timestamp_us: int, pid: int = 7, percent: int = 10) -> UtilisationRow:
    return UtilisationRow(
        pid=pid,
        timestamp_us=timestamp_us,
        sm_percent=percent,
        memory_percent=0,
        encoder_percent=0,
        decoder_percent=0,
    )


times = st.integers(1, NOW_US)
rows = st.builds(row, times, st.integers(1, PID_LIMIT), st.integers(0, 100))
any_rows = st.builds(row, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


def test_the_cursor_is_the_newest_sample_not_our_clock() -> None:
    taken = advance([row(NOW_US - 30), row(NOW_US - 10), row(NOW_US - 20)], 0, NOW_US)
    assert taken.cursor_us == NOW_US - 10
    assert len(taken.rows) == 3


def test_what_was_taken_is_not_taken_again() -> None:
    taken = advance([row(5), row(6)], 5, NOW_US)
    assert [one.timestamp_us for one in taken.rows] == [6]
    assert taken.rejected == 0


def test_nothing_new_leaves_the_cursor() -> None:
    assert advance([], 5, NOW_US).cursor_us == 5


def test_rows_that_cannot_be_are_counted_and_move_nothing() -> None:
    bogus = [
        row(NOW_US, pid=0),
        row(NOW_US, pid=PID_LIMIT + 1),
        row(NOW_US, percent=101),
        row(0),
        row(NOW_US + AHEAD_LIMIT_US + 1),
    ]
    taken = advance([*bogus, row(9)], 5, NOW_US)
    assert ([one.timestamp_us for one in taken.rows], taken.cursor_us, taken.rejected) == ([9], 9, 5)


def test_a_clock_somewhat_ahead_of_ours_is_believed() -> None:
    assert advance([row(NOW_US + AHEAD_LIMIT_US)], 0, NOW_US).rejected == 0


def test_a_cursor_newer_than_all_begins_anew() -> None:
    taken = begin_anew([row(3), row(4)], 1000, NOW_US)
    assert taken.restarted
    assert (len(taken.rows), taken.cursor_us) == (2, 4)


def test_an_idle_gpu_does_not_begin_anew() -> None:
    assert begin_anew([row(4)], 4, NOW_US) == begin_anew([], 4, NOW_US)
    assert not begin_anew([row(4)], 4, NOW_US).restarted


@given(st.lists(rows), times)
def test_two_readings_take_each_sample_once(samples: list[UtilisationRow], between: int) -> None:
    first = advance([one for one in samples if one.timestamp_us <= between], 0, NOW_US)
    second = advance([one for one in samples if one.timestamp_us > between], first.cursor_us, NOW_US)
    key = UtilisationRow.__hash__
    assert sorted((*first.rows, *second.rows), key=key) == sorted(samples, key=key)


@given(st.lists(any_rows), st.integers(0, NOW_US))
def test_the_cursor_never_runs_away(samples: list[UtilisationRow], since_us: int) -> None:
    taken = advance(samples, since_us, NOW_US)
    assert since_us <= taken.cursor_us <= NOW_US + AHEAD_LIMIT_US
    assert all(0 < one.pid <= PID_LIMIT and one.sm_percent <= 100 for one in taken.rows)
