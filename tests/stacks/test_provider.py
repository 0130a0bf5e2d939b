"""The provider's process over gRPC, with a real worker process behind it and a recording engine before it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from dataclasses import asdict
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from stacks.errors import SpecInvalid
from stacks.outcome import unmark
from stacks.provider import DETAILS_KEY, worker_argv
from stacks.values import marked, plain_map
from tests.fakes.hosts import FakeHosts
from tests.fakes.wait import alive, descendants, until
from tests.stacks.conftest import host_spec

SECRET = "c2VjcmV0IHByZXNoYXJlZCBrZXkgb2YgdGhpcyB0ZXN0"
LIMIT_SECONDS = 30


class Engine(engine_pb2_grpc.EngineServicer):
    """What the provider tells the engine's log."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []

    def Log(self, request: Any, context: Any) -> Any:
        self.messages.append((request.urn, request.message))
        return empty_pb2.Empty()


class Driver:
    """Plays the engine to a provider process."""

    def __init__(self, journal: Path, hosts: FakeHosts) -> None:
        self.engine = Engine()
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        engine_pb2_grpc.add_EngineServicer_to_server(self.engine, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        environ = {"TIMELOCK_WORKER": json.dumps(hosts.argv), "TIMELOCK_JOURNAL": str(journal)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from stacks.provider import main; main()", f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE,
            env={**os.environ, **environ},
            text=True,
        )
        assert self.process.stdout is not None
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self.process.stdout.readline().strip()}")
        self.stub: Any = provider_pb2_grpc.ResourceProviderStub(self._channel)

    def properties(self, role: str = "engine", host: str = "lab-a1", **params: object) -> dict[str, PropertyValue]:
        values = {"host": host, "role": role, "code": "1", "connection": asdict(host_spec(1).connection)}
        found = {key: PropertyValue("1") if key == "code" else marked(value) for key, value in values.items()}
        inner = {key: marked(value) for key, value in {"booking": "demo", **params}.items()}
        inner["preshared_key"] = PropertyValue(SECRET, is_secret=True)
        return {**found, "params": PropertyValue(inner)}

    def urn(self, properties: dict[str, PropertyValue]) -> str:
        role = str(properties["role"].value)
        return f"urn:pulumi:demo::timelock::timelock:host:{role.capitalize()}::{properties['host'].value}.{role}"

    def create(self, properties: dict[str, PropertyValue], *, preview: bool = False) -> Any:
        request = provider_pb2.CreateRequest(
            urn=self.urn(properties), properties=PropertyValue.marshal_map(properties), preview=preview
        )
        return self.stub.Create.future(request, timeout=LIMIT_SECONDS)

    def read(self, properties: dict[str, PropertyValue]) -> dict[str, Any]:
        state = PropertyValue.marshal_map(properties)
        request = provider_pb2.ReadRequest(urn=self.urn(properties), id="x", properties=state, inputs=state)
        answer = self.stub.Read(request, timeout=LIMIT_SECONDS)
        assert answer.id == "x"
        return plain_map(PropertyValue.unmarshal_map(answer.properties))

    def update(self, olds: dict[str, PropertyValue], news: dict[str, PropertyValue], *, preview: bool = False) -> Any:
        request = provider_pb2.UpdateRequest(
            urn=self.urn(news),
            id="x",
            olds=PropertyValue.marshal_map(olds),
            news=PropertyValue.marshal_map(news),
            preview=preview,
        )
        answer = self.stub.Update(request, timeout=LIMIT_SECONDS)
        return PropertyValue.unmarshal_map(answer.properties)

    def diff(self, olds: dict[str, PropertyValue], news: dict[str, PropertyValue]) -> Any:
        request = provider_pb2.DiffRequest(
            urn=self.urn(news), id="x", olds=PropertyValue.marshal_map(olds), news=PropertyValue.marshal_map(news)
        )
        return self.stub.Diff(request, timeout=LIMIT_SECONDS)

    def delete(self, properties: dict[str, PropertyValue]) -> None:
        request = provider_pb2.DeleteRequest(
            urn=self.urn(properties), id="x", properties=PropertyValue.marshal_map(properties)
        )
        self.stub.Delete(request, timeout=LIMIT_SECONDS)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(LIMIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._channel.close()
        self._server.stop(0).wait(LIMIT_SECONDS)


@pytest.fixture
def driver(tmp_path: Path, hosts: FakeHosts) -> Iterator[Driver]:
    found = Driver(tmp_path / "journal.jsonl", hosts)
    yield found
    found.close()


def created(driver: Driver, properties: dict[str, PropertyValue]) -> dict[str, PropertyValue]:
    return PropertyValue.unmarshal_map(driver.create(properties).result().properties)


def test_create_applies_tells_and_returns_outputs(driver: Driver, hosts: FakeHosts) -> None:
    properties = driver.properties("ray")
    answer = driver.create(properties).result()
    state = PropertyValue.unmarshal_map(answer.properties)
    assert answer.id == "lab-a1.ray"
    assert plain_map(state)["outputs"] == hosts.outputs("lab-a1", "ray")
    assert plain_map(state)["drift"] == []
    urn = driver.urn(properties)
    until(lambda: (urn, "changed file ray.json") in driver.engine.messages, "the step is told")


def test_create_twice_is_one(driver: Driver, hosts: FakeHosts) -> None:
    properties = driver.properties("identity", planes=[0])
    first, second = created(driver, properties), created(driver, properties)
    assert plain_map(first) == plain_map(second)


def test_a_preview_touches_no_host(driver: Driver, hosts: FakeHosts) -> None:
    properties = driver.properties()
    assert driver.create(properties, preview=True).result().id == ""
    driver.update(properties, properties, preview=True)
    assert hosts.jobs("apply", "observe", "remove") == []


def test_secrets_stay_secret_and_unwritten(driver: Driver, hosts: FakeHosts, tmp_path: Path) -> None:
    hosts.fail("lab-a1", "mesh", kind="step", step="wg", cause=f"bad key {SECRET}", next=f"not {SECRET}")
    state = created(driver, driver.properties("engine"))
    assert state["params"].contains_secret()
    with pytest.raises(grpc.RpcError) as error:
        driver.create(driver.properties("mesh")).result()
    assert SECRET not in error.value.details()
    assert "bad key [secret]" in error.value.details()
    assert SECRET not in (tmp_path / "journal.jsonl").read_text()
    assert not [message for _, message in driver.engine.messages if SECRET in message]


def test_diff_names_paths_drift_and_code(driver: Driver) -> None:
    state = created(driver, driver.properties(slot=1))
    assert driver.diff(state, driver.properties(slot=1)).changes == provider_pb2.DiffResponse.DIFF_NONE
    found = driver.diff(state, driver.properties(slot=2))
    assert list(found.detailedDiff) == ["params.slot"]
    assert not found.replaces
    drifted = driver.diff({**state, "drift": marked(["x"])}, driver.properties(slot=1))
    assert (drifted.changes, list(drifted.diffs)) == (provider_pb2.DiffResponse.DIFF_SOME, ["drift"])
    newer = {**driver.properties(slot=1), "code": marked("2")}
    assert list(driver.diff(state, newer).diffs) == ["code"]


def test_read_finds_drift_and_update_repairs(driver: Driver, hosts: FakeHosts) -> None:
    properties = driver.properties("ray")
    state = created(driver, properties)
    assert driver.read(state)["drift"] == []
    hosts.delete("lab-a1", "ray")
    found = driver.read(state)
    assert found["drift"] == ["file ray.json: missing"]
    assert found["outputs"] == plain_map(state)["outputs"]  # until it is repaired
    repaired = plain_map(driver.update(state, properties))
    assert (repaired["drift"], repaired["outputs"]) == ([], hosts.outputs("lab-a1", "ray"))


def test_another_session_is_drift(driver: Driver, hosts: FakeHosts) -> None:
    state = created(driver, driver.properties("ray"))
    found = json.loads((hosts.root / "lab-a1" / "ray.json").read_text())
    hosts.set("lab-a1", "ray.json", json.dumps({**found, "outputs": {"session": "restarted"}}))
    observed = driver.read(state)
    assert observed["drift"] == ["session: another than before"]
    assert observed["outputs"] == {"session": "restarted"}


@pytest.mark.parametrize("kind", ["unreachable", "host_key", "auth"])
def test_a_host_that_cannot_be_read_is_drift(driver: Driver, hosts: FakeHosts, kind: str) -> None:
    state = created(driver, driver.properties())
    hosts.set("lab-a1", kind)
    assert driver.read(state)["drift"][0].startswith(f"{kind}: connect: ")


def test_a_lost_host_is_asked_once(driver: Driver, hosts: FakeHosts) -> None:
    states = [created(driver, driver.properties(role)) for role in ("engine", "mesh", "ray")]
    hosts.set("lab-a1", "unreachable")
    for state in states:
        driver.delete(state)
    assert len(hosts.jobs("remove")) == 1


def test_delete_of_a_lost_host_is_recorded_as_owed(driver: Driver, hosts: FakeHosts, tmp_path: Path) -> None:
    state = created(driver, driver.properties())
    hosts.set("lab-a1", "host_key")
    driver.delete(state)
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    owed = [line for line in lines if line["event"] == "quarantined"]
    assert [(line["host"], line["owed"], line["kind"]) for line in owed] == [("lab-a1", ["engine"], "host_key")]


def test_delete_of_a_living_host_that_fails_is_an_error(driver: Driver, hosts: FakeHosts) -> None:
    state = created(driver, driver.properties())
    hosts.set("lab-a1", "auth")
    with pytest.raises(grpc.RpcError, match="key refused"):
        driver.delete(state)


def failed_create(driver: Driver) -> tuple[str, Any]:
    properties = driver.properties()
    with pytest.raises(grpc.RpcError) as error:
        driver.create(properties).result()
    metadata = dict(error.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata[DETAILS_KEY]) if DETAILS_KEY in metadata else None
    return str(error.value.details()), status


def test_a_create_that_never_reached_its_host_made_nothing(driver: Driver, hosts: FakeHosts) -> None:
    hosts.set("lab-a1", "unreachable")
    details, status = failed_create(driver)
    assert unmark(driver.urn(driver.properties()), details).kind == "unreachable"
    assert status is None


def test_a_create_that_failed_half_way_is_kept(driver: Driver, hosts: FakeHosts) -> None:
    hosts.fail("lab-a1", "engine", kind="disk_full", step="data-root", cause="full", next="free some")
    details, status = failed_create(driver)
    failed = provider_pb2.ErrorResourceInitFailed()
    status.details[0].Unpack(failed)
    assert failed.id == "lab-a1.engine"
    state = plain_map(PropertyValue.unmarshal_map(failed.properties))
    assert state["drift"] == ["not finished: data-root: full"]
    assert "outputs" not in state
    failure = unmark(driver.urn(driver.properties()), details)
    assert (failure.kind, failure.next_step) == ("disk_full", "free some")


def test_cancel_ends_what_runs(driver: Driver, hosts: FakeHosts) -> None:
    hosts.set("lab-a1", "engine.hang")
    creating = driver.create(driver.properties())
    until(lambda: driver.engine.messages, "the create began")
    driver.stub.Cancel(empty_pb2.Empty(), timeout=LIMIT_SECONDS)
    with pytest.raises(grpc.RpcError) as error:
        creating.result()
    assert unmark(driver.urn(driver.properties()), error.value.details()).kind == "cancelled"


def test_the_worker_starts_with_the_first_job_and_again_after_it_died(driver: Driver, hosts: FakeHosts) -> None:
    assert descendants(driver.process.pid) == []
    created(driver, driver.properties())
    (worker,) = descendants(driver.process.pid)
    os.kill(worker, signal.SIGKILL)
    until(lambda: not alive(worker), "the worker is gone")
    until(lambda: _creates(driver), "a new worker serves")


def _creates(driver: Driver) -> bool:
    try:
        driver.create(driver.properties("mesh")).result()
    except grpc.RpcError:
        return False
    return True


@pytest.mark.parametrize("when", ["early", "late"])
def test_it_ends_with_whoever_started_it(hosts: FakeHosts, when: str) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'from stacks.provider import main; main()', '127.0.0.1:1'],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(p.pid, flush=True)\n"
        "if sys.argv[1] == 'late': p.stdout.readline(), print('serves', flush=True)\n"
        "time.sleep(600)\n"
    )
    environ = {**os.environ, "TIMELOCK_WORKER": json.dumps(hosts.argv)}
    command = [sys.executable, "-c", script, when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as parent:
        assert parent.stdout is not None
        provider = int(parent.stdout.readline())
        if when == "late":
            parent.stdout.readline()
        parent.kill()
    until(lambda: not alive(provider), "the provider ends when its parent was killed")


@pytest.mark.parametrize("text", ["", "worker", "{}", "[]", "[1]"])
def test_a_worker_that_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(SpecInvalid, match="TIMELOCK_WORKER: expected a JSON list"):
        worker_argv({"TIMELOCK_WORKER": text})
