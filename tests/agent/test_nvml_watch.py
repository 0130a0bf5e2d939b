"""The reading process is kept: what hangs is killed, what lies is not believed, what is down says since when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO

import pytest

from agent.nvml_protocol import AboutGpu, Answer, Question, write_line
from agent.nvml_watch import Down, NvmlWatch, starter
from tests.fakes.wait import alive

QUESTION = Question(number=1, source="gpus")
SECOND_NS = 10**9
GOOD = write_line(Answer(number=1, began_at_ns=1, ended_at_ns=2, gpus=None, values=()))
ONCE = f"import sys\nsys.stdin.readline()\nsys.stdout.buffer.write({GOOD!r})\nsys.stdout.flush()\n"
ANSWERS = f"import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write({GOOD!r}); sys.stdout.flush()"
HANGS = "import time\nwhile True: time.sleep(60)"
ENDS = "raise SystemExit(3)"
LIES = "input()\nprint({!r}, flush=True)\ninput()"
OTHER_ANSWER = '[1,["Answer",7,1,2,null,[]]]'


@dataclass
class Clock:
    """A clock that a test sets."""

    now_ns: int = 100 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


@dataclass
class Scripts:
    """Starts one program after another; the last again and again."""

    programs: list[str]
    started: int = 0

    def __call__(self) -> subprocess.Popen[bytes]:
        program = self.programs[min(self.started, len(self.programs) - 1)]
        self.started += 1
        return subprocess.Popen(
            (sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )


@pytest.fixture
def watch_of() -> Iterator[Callable[..., tuple[NvmlWatch, Scripts, Clock]]]:
    made: list[NvmlWatch] = []

    def make(
        *programs: str, limit_seconds: float = 60.0, start_seconds: float = 60.0
    ) -> tuple[NvmlWatch, Scripts, Clock]:
        scripts, clock = Scripts(list(programs)), Clock()
        watch = NvmlWatch(scripts, limit_seconds=limit_seconds, start_seconds=start_seconds, clock_ns=clock)
        made.append(watch)
        return made[-1], scripts, clock

    yield make
    for one in made:
        one.close()


Make = Callable[..., tuple[NvmlWatch, Scripts, Clock]]


def test_one_process_answers_all_questions(watch_of: Make) -> None:
    watch, scripts, _ = watch_of(ANSWERS)
    assert isinstance(watch.ask(QUESTION), Answer)
    assert isinstance(watch.ask(QUESTION), Answer)
    assert scripts.started == 1


def test_a_process_that_hangs_is_killed_and_the_next_one_answers(watch_of: Make) -> None:
    watch, scripts, clock = watch_of(ONCE + HANGS, ANSWERS, limit_seconds=0.5)
    assert isinstance(watch.ask(QUESTION), Answer)
    hanging = watch.pid
    assert hanging is not None
    down = watch.ask(QUESTION)
    assert isinstance(down, Down)
    assert down.reason == "no answer about gpus within 0.5 s"
    assert down.since_ns == clock.now_ns
    assert not alive(hanging)
    assert isinstance(watch.ask(QUESTION), Answer)
    assert scripts.started == 2


def test_a_process_that_hangs_from_the_start_has_longer(watch_of: Make) -> None:
    watch, _, _ = watch_of(HANGS, limit_seconds=0.1, start_seconds=0.5)
    down = watch.ask(QUESTION)
    assert isinstance(down, Down)
    assert down.reason == "no answer about gpus within 0.5 s"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (ENDS, "it ended"),
        (LIES.format("hello"), "expected a line of JSON"),
        (LIES.format("[9,[]]"), "expected a message of version 1"),
        (LIES.format(OTHER_ANSWER), "expected the answer to question 1, found 7"),
        ("input()\nprint('x' * (17 << 20))", "expected a line of at most"),
    ],
)
def test_a_process_that_does_not_keep_to_the_protocol_is_replaced(watch_of: Make, program: str, reason: str) -> None:
    watch, scripts, _ = watch_of(program, ANSWERS)
    down = watch.ask(QUESTION)
    assert isinstance(down, Down)
    assert reason in down.reason or "Broken pipe" in down.reason  # it may end before it is asked
    assert isinstance(watch.ask(QUESTION), Answer)
    assert scripts.started == 2


def test_down_is_since_the_first_question_without_answer(watch_of: Make) -> None:
    watch, _, clock = watch_of(ENDS, ENDS, ENDS, ANSWERS)
    since = set()
    for _ in range(3):
        down = watch.ask(QUESTION)
        assert isinstance(down, Down)
        since.add(down.since_ns)
        clock.now_ns += 100 * SECOND_NS
    assert since == {100 * SECOND_NS}
    assert isinstance(watch.ask(QUESTION), Answer)


def test_restarts_wait_longer_and_longer(watch_of: Make) -> None:
    watch, scripts, clock = watch_of(ENDS)
    started = []
    for _ in range(20):
        watch.ask(QUESTION)
        started.append(scripts.started)
        clock.now_ns += SECOND_NS
    assert started[:5] == [1, 2, 3, 3, 4]
    assert scripts.started == 6  # after 0, 0, 1, 2, 4 and 8 seconds
    clock.now_ns += 600 * SECOND_NS
    watch.ask(QUESTION)
    assert scripts.started == 7


def test_an_answer_ends_the_waiting(watch_of: Make) -> None:
    watch, scripts, _ = watch_of(ENDS, ONCE, ANSWERS)
    assert isinstance(watch.ask(QUESTION), Down)
    assert isinstance(watch.ask(QUESTION), Answer)
    assert isinstance(watch.ask(QUESTION), Down)
    assert isinstance(watch.ask(QUESTION), Answer)
    assert scripts.started == 3


def test_a_process_that_does_not_read_is_killed(watch_of: Make) -> None:
    watch, _, _ = watch_of(HANGS, start_seconds=0.5)
    long = Question(number=1, source="processes", about=tuple(AboutGpu(uuid="GPU-" + "0" * 60) for _ in range(20_000)))
    assert isinstance(watch.ask(long), Down)


@dataclass
class Undying:
    """A process in uninterruptible sleep: SIGKILL waits for the driver."""

    pid: int = 4242
    dead: bool = False
    killed: int = 0
    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None
    waits: list[float | None] = field(default_factory=list)

    def poll(self) -> int | None:
        return -9 if self.dead else None

    def kill(self) -> None:
        self.killed += 1

    def wait(self, timeout: float | None = None) -> int:
        self.waits.append(timeout)
        if not self.dead:
            raise subprocess.TimeoutExpired("undying", timeout or 0)
        return -9


def test_no_second_process_is_started_while_the_first_does_not_die() -> None:
    undying, starts = Undying(), []

    def start() -> Undying:
        starts.append(1)
        return undying

    with closing(NvmlWatch(start, limit_seconds=0.01, start_seconds=0.01)) as watch:
        assert isinstance(watch.ask(QUESTION), Down)
        for _ in range(3):
            down = watch.ask(QUESTION)
            assert isinstance(down, Down)
            assert down.reason == "the reading process 4242 hangs in the driver and does not die"
        assert (undying.killed, len(starts)) == (1, 1)
        undying.dead = True
        watch.ask(QUESTION)
        assert len(starts) == 2
    assert None not in undying.waits


def test_a_program_that_is_not_there_is_down() -> None:
    with closing(NvmlWatch(starter(("/no/such/program",)))) as watch:
        down = watch.ask(QUESTION)
        assert isinstance(down, Down)
        assert "cannot be started" in down.reason


def test_closing_ends_the_process(watch_of: Make) -> None:
    watch, _, _ = watch_of(ANSWERS)
    watch.ask(QUESTION)
    pid = watch.pid
    assert pid is not None
    watch.close()
    assert not alive(pid)
    assert watch.pid is None


def test_closing_ends_a_process_that_hangs(watch_of: Make) -> None:
    watch, _, _ = watch_of(ONCE + HANGS, limit_seconds=0.5)
    assert isinstance(watch.ask(QUESTION), Answer)
    pid = watch.pid
    assert pid is not None
    watch.close()
    assert not alive(pid)
