from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest

from stacks.worker import Connection, Done, Job, Step, WorkerClient, WorkerFailed
from tests.fakes.hosts import FakeHosts
from tests.fakes.wait import alive, until

CONNECTION = Connection(address="10.77.0.11", key_file="/keys/id", known_hosts_file="/keys/known_hosts")


def job(verb: str = "apply", host: str = "lab-a1", role: str = "engine", **params: object) -> Job:
    return Job(verb=verb, host=host, connection=CONNECTION, role=role, params=params, timeout_seconds=30)


def with_client(hosts: FakeHosts, use: Callable[[WorkerClient], Awaitable[object]]) -> None:
    async def run() -> None:
        async with await WorkerClient.start(hosts.argv) as client:
            await use(client)

    asyncio.run(run())


def failure_of(hosts: FakeHosts, failing: Job) -> WorkerFailed:
    caught: list[WorkerFailed] = []

    async def use(client: WorkerClient) -> None:
        with pytest.raises(WorkerFailed) as error:
            await client.submit(failing)
        caught.append(error.value)

    with_client(hosts, use)
    return caught[0]


def test_a_job_brings_outputs_changes_and_its_steps(hosts: FakeHosts) -> None:
    steps: list[Step] = []

    async def use(client: WorkerClient) -> None:
        done = await client.submit(job(role="ray", image="r"), steps.append)
        again = await client.submit(job(role="ray", image="r"))
        assert done.changes == ("file ray.json: missing",)
        assert again == Done(outputs=done.outputs, changes=())

    with_client(hosts, use)
    assert [(step.step, step.state) for step in steps] == [("file ray.json", "start"), ("file ray.json", "changed")]


def test_run_returns_what_the_command_printed(hosts: FakeHosts) -> None:
    async def use(client: WorkerClient) -> None:
        done = await client.submit(job("run", role="", command="echo ", stdin="hello"))
        assert done.outputs == {"stdout": "echo hello", "stderr": "", "status": 0}

    with_client(hosts, use)


def test_hosts_work_at_the_same_time(hosts: FakeHosts) -> None:
    hosts.set("lab-a1", "engine.hang")

    async def use(client: WorkerClient) -> None:
        waiting = asyncio.create_task(client.submit(job()))
        await client.submit(job(host="lab-a2"))
        assert not waiting.done()
        hosts.clear("lab-a1", "engine.hang")
        await waiting

    with_client(hosts, use)


def test_a_failure_names_host_step_cause_and_what_to_do(hosts: FakeHosts) -> None:
    hosts.fail("lab-a1", "engine", kind="disk_full", step="data-root", cause="0 bytes free", next="free some")
    failure = failure_of(hosts, job())
    assert (failure.kind, failure.host, failure.step) == ("disk_full", "lab-a1", "data-root")
    assert (failure.cause, failure.next_step) == ("0 bytes free", "free some")


def test_a_worker_that_dies_fails_its_jobs_with_its_last_words(hosts: FakeHosts) -> None:
    async def use(client: WorkerClient) -> None:
        hosts.set("lab-a1", "engine.hang")
        waiting = asyncio.create_task(client.submit(job()))
        with pytest.raises(WorkerFailed, match="status 3\n  these were its last words"):
            await client.submit(job("run", host="lab-a2", command="die"))
        with pytest.raises(WorkerFailed) as error:
            await waiting
        assert error.value.kind == "worker"
        assert not client.alive
        with pytest.raises(WorkerFailed):
            await client.submit(job())

    with_client(hosts, use)


@pytest.mark.parametrize("line", ['{"v": 2, "id": 1, "event": "done"}', "not JSON", "[]"])
def test_a_worker_that_speaks_otherwise_is_not_listened_to(hosts: FakeHosts, line: str) -> None:
    (hosts.root / "speaks").write_text(line + "\n")
    failure = failure_of(hosts, job())
    assert failure.kind == "worker"
    assert "did not keep to the protocol" in failure.cause


def test_a_command_that_is_none_fails_at_once() -> None:
    with pytest.raises(WorkerFailed, match="cannot be started"):
        asyncio.run(WorkerClient.start(("/nowhere/worker",)))


def test_cancelling_the_task_cancels_the_job(hosts: FakeHosts) -> None:
    hosts.set("lab-a1", "engine.hang")
    began: list[Step] = []

    async def use(client: WorkerClient) -> None:
        task = asyncio.create_task(client.submit(job(), began.append))
        while not began:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.submit(job(role="mesh"))  # the host is free again

    with_client(hosts, use)
    assert hosts.roles("lab-a1") == {"mesh"}


def test_cancel_all_ends_jobs_as_cancelled(hosts: FakeHosts) -> None:
    hosts.set("lab-a1", "engine.hang")
    began: list[Step] = []

    async def use(client: WorkerClient) -> None:
        task = asyncio.create_task(client.submit(job(), began.append))
        while not began:
            await asyncio.sleep(0.01)
        await client.cancel_all()
        with pytest.raises(WorkerFailed) as error:
            await task
        assert error.value.kind == "cancelled"

    with_client(hosts, use)


def test_a_late_answer_is_a_timeout(hosts: FakeHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.set("lab-a1", "engine.hang")
    monkeypatch.setattr("stacks.worker.REPLY_GRACE_SECONDS", 0.5)
    late = Job(verb="apply", host="lab-a1", connection=CONNECTION, role="engine", timeout_seconds=0)
    assert failure_of(hosts, late).kind == "timeout"


def test_closing_ends_the_worker_and_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stacks.worker.CLOSE_SECONDS", 0.5)
    script = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, file=sys.stderr); sys.stdin.read()"
    pids: list[int] = []

    async def run() -> None:
        client = await WorkerClient.start((sys.executable, "-c", script))
        pids.append(client.pid)
        while not client._last_words:
            await asyncio.sleep(0.01)
        pids.append(int(client._last_words[0]))
        await client.close()

    asyncio.run(run())
    until(lambda: not any(map(alive, pids)), "worker and child are gone")


def test_no_secret_in_argv_or_environment(hosts: FakeHosts) -> None:
    hosts.set("lab-a1", "engine.hang")
    began: list[Step] = []

    async def use(client: WorkerClient) -> None:
        task = asyncio.create_task(client.submit(job(preshared_key="s3cret-key"), began.append))
        while not began:
            await asyncio.sleep(0.01)
        for name in ("cmdline", "environ"):
            with open(f"/proc/{client.pid}/{name}", "rb") as file:  # noqa: PTH123
                assert b"s3cret-key" not in file.read()
        hosts.clear("lab-a1", "engine.hang")
        await task

    with_client(hosts, use)
