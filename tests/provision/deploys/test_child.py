"""Jobs of one host: order, batches, cancelling, limits; with hands that do as they are told."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import gevent
import gevent.event
import gevent.queue
import pytest

from provision.deploys.child import Child
from provision.deploys.errors import StepFailed
from provision.deploys.item import Command
from provision.deploys.protocol import RunParams

CONNECTION = {"address": "192.0.2.1", "key_file": "/key", "known_hosts_file": "/known_hosts"}
LIMIT_SECONDS = 20


@dataclass
class Told:
    """Hands whose commands wait until they are let go."""

    began: int = 0
    ran: list[str] = field(default_factory=list)
    looks: int = 0
    interrupted: int = 0
    started: gevent.event.Event = field(default_factory=gevent.event.Event)
    go: gevent.event.Event = field(default_factory=gevent.event.Event)
    failure: StepFailed | None = None

    def begin(self) -> None:
        self.began += 1
        if self.failure:
            raise self.failure

    def run(self, params: RunParams, timeout_seconds: float) -> dict[str, object]:
        self.started.set()
        self.go.wait()
        self.ran.append(params.command)
        return {"status": 0}

    def look(self, script: str) -> str:
        self.looks += 1
        token = script.rpartition("echo '##")[2].split()[0]
        count = script.count(f"echo '##{token} ") - 1
        return "".join(f"##{token} {number}\n\n" for number in range(count)) + f"##{token} end\n"

    def act(self, booking: str, step: str, commands: Sequence[Command]) -> None:
        raise StepFailed(step, "as told")

    def interrupt(self) -> None:
        self.interrupted += 1


class Talk:
    """The pipes to a child."""

    def __init__(self, hands: Told) -> None:
        self.requests: gevent.queue.Queue[bytes] = gevent.queue.Queue()
        self.replies: gevent.queue.Queue[bytes] = gevent.queue.Queue()
        self.greenlet = gevent.spawn(Child(hands, self.replies.put).serve, iter(self.requests.get, b""))

    def ask(self, number: int, verb: str, role: str = "", limit: float = 600, **params: object) -> None:
        job = {"id": number, "verb": verb, "host": "h", "connection": CONNECTION, "role": role, "params": params}
        self.requests.put(json.dumps(job | {"timeout_seconds": limit}).encode())

    def cancel(self, number: int) -> None:
        self.requests.put(json.dumps({"id": 99, "verb": "cancel", "params": {"id": number}}).encode())

    def answer(self) -> dict[str, object]:
        """The next final answer."""
        while True:
            reply: dict[str, object] = json.loads(self.replies.get(timeout=LIMIT_SECONDS))
            if reply["event"] != "step":
                return reply


@pytest.fixture
def hands() -> Told:
    return Told()


@pytest.fixture
def talk(hands: Told) -> Iterator[Talk]:
    talk = Talk(hands)
    yield talk
    talk.requests.put(b"")
    talk.greenlet.join(LIMIT_SECONDS)
    assert talk.greenlet.successful()


def test_jobs_are_done_in_order(talk: Talk, hands: Told) -> None:
    for number in range(3):
        talk.ask(number, "run", command=str(number))
    hands.go.set()
    assert [talk.answer()["id"] for _ in range(3)] == [0, 1, 2]
    assert hands.ran == ["0", "1", "2"]


def test_neighbouring_observations_take_one_look(talk: Talk, hands: Told) -> None:
    talk.ask(0, "run", command="first")
    for number in (1, 2, 3):
        talk.ask(number, "observe", "identity", booking="demo", planes=[0])
    talk.ask(4, "observe", "identity", wrong=1)
    assert hands.started.wait(LIMIT_SECONDS)
    gevent.idle()
    hands.go.set()
    answers = {answer["id"]: answer for answer in (talk.answer() for _ in range(5))}
    assert [answers[number]["event"] for number in range(5)] == ["done", "done", "done", "done", "failed"]
    assert answers[4]["kind"] == "invalid"
    assert hands.looks == 1


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_interrupted(talk: Talk, hands: Told) -> None:
    talk.ask(0, "run", command="runs")
    talk.ask(1, "run", command="waits")
    assert hands.started.wait(LIMIT_SECONDS)
    talk.cancel(1)
    talk.cancel(0)
    talk.cancel(7)
    answers = [talk.answer(), talk.answer()]
    assert [(answer["id"], answer["kind"]) for answer in answers] == [(1, "cancelled"), (0, "cancelled")]
    hands.go.set()
    talk.ask(2, "run", command="next")
    assert talk.answer()["id"] == 2
    assert (hands.ran, hands.interrupted) == (["next"], 1)


def test_a_job_has_a_limit(talk: Talk, hands: Told) -> None:
    talk.ask(0, "run", command="hangs", limit=0.01)
    answer = talk.answer()
    assert (answer["kind"], hands.interrupted) == ("timeout", 1)


def test_a_failed_step_is_named(talk: Talk) -> None:
    talk.ask(0, "apply", "identity", booking="demo", planes=[0])
    answer = talk.answer()
    assert answer["event"] == "failed"
    assert answer["step"] == "directory /var/lib/timelock-host/bookings/demo"
    assert answer["cause"] == "as told"


def test_all_observations_hear_that_the_host_is_away(talk: Talk, hands: Told) -> None:
    hands.failure = StepFailed("connect", "no route", kind="unreachable")
    for number in (0, 1):
        talk.ask(number, "observe", "identity", booking="demo", planes=[0])
    assert [talk.answer()["kind"] for _ in range(2)] == ["unreachable"] * 2


def test_a_broken_request_costs_no_connection(talk: Talk, hands: Told) -> None:
    talk.ask(0, "apply", "firewall")
    assert talk.answer()["kind"] == "invalid"
    assert hands.began == 0
