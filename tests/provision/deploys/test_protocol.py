"""The worker's end of the protocol, against the client's."""

import json

import pytest

from provision.deploys.errors import StepFailed
from provision.deploys.protocol import Cancel, Job, Reply, parse, parse_run
from stacks import protocol as client

CONNECTION = client.Connection(address="192.0.2.1", key_file="/key", known_hosts_file="/known_hosts")


def test_what_the_client_sends_is_understood() -> None:
    sent = client.Job(verb="apply", host="lab-a1", connection=CONNECTION, role="engine", params={"booking": "demo"})
    job = parse(client.encode_job(7, sent))
    assert isinstance(job, Job)
    assert (job.id, job.host, job.role, job.params) == (7, "lab-a1", "engine", {"booking": "demo"})
    assert job.connection.known_hosts_file == "/known_hosts"
    cancel = parse(client.encode_cancel(8, 7, "lab-a1"))
    assert isinstance(cancel, Cancel)
    assert cancel.params["id"] == 7


def test_what_the_worker_answers_is_understood() -> None:
    sent = client.Job(verb="apply", host="lab-a1", connection=CONNECTION, role="engine")
    reply = Reply(job=7, host="lab-a1", role="engine")
    step = client.parse_step(client.parse_reply(reply.step("file /etc/x", "changed")), sent)
    assert step == client.Step(host="lab-a1", role="engine", step="file /etc/x", state="changed")
    done = client.parse_done(client.parse_reply(reply.done({"a": 1}, ("file /etc/x: absent",))))
    assert done == client.Done(outputs={"a": 1}, changes=("file /etc/x: absent",))
    failure = StepFailed("file /etc/x", "no", kind="disk_full", next_step="free space")
    failed = client.parse_failed(client.parse_reply(reply.failed(failure)), sent)
    assert (failed.kind, failed.host, failed.step, failed.cause) == ("disk_full", "lab-a1", "file /etc/x", "no")
    assert failed.next_step == "free space"


GOOD = json.loads(client.encode_job(1, client.Job(verb="run", host="h", connection=CONNECTION)))


@pytest.mark.parametrize(
    "wrong",
    [{"v": 2}, {"id": "1"}, {"verb": "destroy"}, {"host": ""}, {"connection": {}}, {"timeout_seconds": 0}, {"new": 1}],
)
def test_anything_else_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(StepFailed) as failure:
        parse(json.dumps(GOOD | wrong).encode())
    assert failure.value.kind == "invalid"


@pytest.mark.parametrize("line", [b"", b"junk", b"[]", b'{"verb":"cancel"}', b"\xff"])
def test_junk_is_refused(line: bytes) -> None:
    with pytest.raises(StepFailed):
        parse(line)


def test_a_reply_is_one_line_whatever_it_holds() -> None:
    line = Reply(job=1, host="h", role="r").failed(StepFailed("s", "two\nlines"))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


def test_a_command_to_run_is_checked() -> None:
    assert parse_run({"command": "id"}).stdin == ""
    with pytest.raises(StepFailed):
        parse_run({"command": 1})
