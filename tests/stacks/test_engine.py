"""The engine with the real Pulumi CLI, the real provider and hosts that are directories."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

import pytest

from stacks.booking import BookingSpec
from stacks.engine import Control, Event, Outcome, StackPlace, find_pulumi, operate
from stacks.errors import EngineFailed, PassphraseWrong, SpecInvalid, StackLocked, StateCorrupt
from stacks.roles import BY_NAME
from tests.fakes.hosts import FakeHosts
from tests.fakes.wait import alive, descendants, until
from tests.stacks.conftest import booking_spec

ROLES = set(BY_NAME)
OPERATE = Path(__file__).parent.parent / "fakes" / "operate.py"
PROVIDER = "stacks.provider"


@pytest.fixture(scope="module")
def pulumi() -> str:
    tools = os.environ.get("TIMELOCK_CACHE") or Path(os.environ.get("TIMELOCK_HOME", "/var/lib/timelock")) / "cache"
    try:
        return str(find_pulumi(Path(tools) / "tools"))
    except EngineFailed as error:
        pytest.skip(f"{error.message}; {error.next_step}")


@pytest.fixture
def place(tmp_path: Path, pulumi: str, hosts: FakeHosts) -> StackPlace:
    (tmp_path / "passphrase").write_text("a passphrase")
    (tmp_path / "mesh.secret").write_bytes(b"m" * 32)
    return StackPlace(
        work_dir=str(tmp_path / "work"),
        backend_url=f"file://{tmp_path}/state",
        pulumi_home=str(tmp_path / "pulumi-home"),
        passphrase_file=str(tmp_path / "passphrase"),
        mesh_secret_file=str(tmp_path / "mesh.secret"),
        journal=str(tmp_path / "journal.jsonl"),
        worker=hosts.argv,
        pulumi=pulumi,
    )


def do(operation: str, spec: BookingSpec, place: StackPlace, **options: bool) -> Outcome:
    return operate(operation, spec, place, lambda _: None, **options)


def up(spec: BookingSpec, place: StackPlace) -> Outcome:
    outcome = do("up", spec, place)
    assert outcome.failures == ()
    return outcome


def names(outcome: Outcome) -> list[str]:
    return [change.resource for change in outcome.changes]


def journal(place: StackPlace, event: str) -> list[dict[str, object]]:
    lines = (json.loads(line) for line in Path(place.journal).read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def state_urns(spec: BookingSpec, place: StackPlace) -> list[str]:
    deployment = do("export", spec, place).outputs["deployment"]
    assert isinstance(deployment, dict)
    assert not deployment.get("pending_operations")
    return [r["urn"] for r in deployment["resources"] if r["type"].startswith("timelock:host:")]


class TestLife:
    """One booking from nothing to nothing."""

    def test_up_creates_all_roles_and_tells_live(self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts) -> None:
        events: list[Event] = []
        outcome = operate("up", spec, place, events.append)
        assert outcome.counts == {"create": 14}
        assert hosts.roles("lab-a1") == hosts.roles("lab-a2") == ROLES
        steps = {(e.host, e.role, e.text, e.state) for e in events if e.kind == "step"}
        assert ("lab-a2", "mesh", "file mesh.json", "changed") in steps
        assert ("lab-a1", "ray", "create", "done") in {
            (e.host, e.role, e.text, e.state) for e in events if e.kind == "resource"
        }

    def test_outputs_hold_what_others_need(self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts) -> None:
        outputs = up(spec, place).outputs
        assert outputs["head"] == "10.88.0.1"
        host = outputs["lab-a2"]
        assert isinstance(host, dict)
        assert host["mesh_address"] == "10.88.0.2"
        assert host["identity"] == hosts.outputs("lab-a2", "identity")
        assert host["ray"] == hosts.outputs("lab-a2", "ray")

    def test_again_changes_nothing(self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts) -> None:
        up(spec, place)
        outcome = up(spec, place)
        assert (outcome.counts, outcome.changed) == ({"same": 14}, 0)
        assert len(hosts.jobs("apply")) == len(hosts.jobs("observe")) == 14

    def test_one_worker_server_serves_an_operation(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        up(spec, place)
        up(spec, place)
        assert len({job["pid"] for job in hosts.jobs("apply")}) == 1
        assert len({job["pid"] for job in hosts.jobs("observe")}) == 1

    def test_preview_touches_no_host(self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts) -> None:
        assert do("preview", spec, place).counts == {"create": 14}
        assert hosts.jobs("apply", "observe", "remove") == []

    def test_drift_names_what_differs_and_up_repairs_only_that(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        up(spec, place)
        hosts.delete("lab-a1", "firewall")
        hosts.delete("lab-a2", "image")
        outcome = do("drift", spec, place)
        assert [d.resource for d in outcome.drift] == ["lab-a1.firewall", "lab-a2.image"]
        assert outcome.drift[0].changes == ("file firewall.json: missing",)
        assert outcome.failures == ()
        assert hosts.roles("lab-a1") == ROLES - {"firewall"}  # drift repairs nothing
        repaired = up(spec, place)
        assert names(repaired) == ["lab-a1.firewall", "lab-a2.image"]
        assert hosts.roles("lab-a1") == hosts.roles("lab-a2") == ROLES

    def test_refresh_remembers_drift_for_an_up_that_does_not_look(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        up(spec, place)
        hosts.delete("lab-a1", "engine")
        do("refresh", spec, place)
        assert names(do("up", spec, place, refresh=False)) == ["lab-a1.engine"]
        assert do("drift", spec, place).drift == ()

    def test_a_new_head_session_reaches_the_workers(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        up(spec, place)
        hosts.delete("lab-a1", "ray")
        assert names(up(spec, place)) == ["lab-a1.ray", "lab-a2.ray"]

    def test_new_code_looks_at_every_host_again(self, spec: BookingSpec, place: StackPlace) -> None:
        up(spec, place)
        assert up(replace(spec, code_version="2"), place).counts == {"update": 14}

    def test_a_host_that_leaves_is_cleared_and_one_that_comes_is_made(
        self, place: StackPlace, hosts: FakeHosts
    ) -> None:
        three = booking_spec(3)
        up(replace(three, hosts=three.hosts[:2]), place)
        outcome = up(replace(three, hosts=(three.hosts[0], three.hosts[2])), place)
        assert hosts.roles("lab-a2") == set()
        assert hosts.roles("lab-a3") == ROLES
        assert outcome.counts["delete"] == outcome.counts["create"] == 7

    def test_destroy_leaves_nothing_on_hosts_nor_here(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts, tmp_path: Path
    ) -> None:
        up(spec, place)
        outcome = do("destroy", spec, place)
        assert outcome.counts == {"delete": 14}
        assert hosts.roles("lab-a1") == hosts.roles("lab-a2") == set()
        assert list((tmp_path / "state" / ".pulumi" / "stacks").rglob("demo*")) == []
        assert do("destroy", spec, place) == Outcome()

    def test_secrets_are_nowhere_in_clear(self, spec: BookingSpec, place: StackPlace, tmp_path: Path) -> None:
        from stacks.booking import resources

        up(spec, place)
        key = next(key for resource in resources(spec) for key in resource.keys)
        secrets = [key.derive(b"m" * 32), base64.b64encode(b"m" * 32).decode(), (b"m" * 32).hex()]
        files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "mesh.secret"]
        assert len(files) > 10
        for path in files:
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


class TestFailures:
    def test_a_failed_step_stops_only_its_host(self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts) -> None:
        hosts.fail("lab-a2", "engine", kind="disk_full", step="data-root", cause="0 bytes free", next="free some")
        outcome = do("up", spec, place)
        failure = outcome.failures[0]
        assert (failure.resource, failure.host, failure.kind) == ("lab-a2.engine", "lab-a2", "disk_full")
        assert (failure.step, failure.cause, failure.next_step) == ("data-root", "0 bytes free", "free some")
        assert len(outcome.failures) == 1
        assert hosts.roles("lab-a1") == ROLES
        assert "firewall" not in hosts.roles("lab-a2")
        hosts.clear("lab-a2", "engine.fail")
        assert [n for n in names(up(spec, place)) if n.startswith("lab-a1")] == []
        assert hosts.roles("lab-a2") == ROLES

    def test_a_create_that_failed_half_way_is_destroyed(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        hosts.fail("lab-a2", "engine", kind="step", step="unit", cause="failed", next="")
        do("up", spec, place)
        assert "engine" in hosts.roles("lab-a2")
        do("destroy", spec, place)
        assert hosts.roles("lab-a1") == hosts.roles("lab-a2") == set()

    def test_an_unreachable_host_is_drift_and_a_failure(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        up(spec, place)
        hosts.set("lab-a2", "unreachable")
        hosts.delete("lab-a1", "firewall")
        drift = do("drift", spec, place)
        assert [(f.host, f.kind) for f in drift.failures] == [("lab-a2", "unreachable")]
        assert "lab-a1.firewall" in [d.resource for d in drift.drift]
        outcome = do("up", spec, place)
        assert [(f.resource, f.kind) for f in outcome.failures] == [("lab-a2.identity", "unreachable")]
        assert names(outcome) == ["lab-a1.firewall"]
        hosts.clear("lab-a2", "unreachable")
        up(spec, place)
        assert do("drift", spec, place).drift == ()

    def test_a_changed_host_key_is_told_as_such(self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts) -> None:
        hosts.set("lab-a1", "host_key")
        outcome = do("up", spec, place)
        assert [(f.host, f.kind, f.step) for f in outcome.failures] == [("lab-a1", "host_key", "connect")]

    @pytest.mark.parametrize("kind", ["unreachable", "host_key"])
    def test_destroy_goes_on_without_a_lost_host_and_records_what_it_owes(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts, kind: str
    ) -> None:
        up(spec, place)
        hosts.set("lab-a2", kind)
        outcome = do("destroy", spec, place)
        assert (outcome.failures, outcome.counts) == ((), {"delete": 14})
        assert hosts.roles("lab-a1") == set()
        owed = journal(place, "quarantined")
        assert {line["host"] for line in owed} == {"lab-a2"}
        assert {role for line in owed for role in line["owed"]} == ROLES  # type: ignore[attr-defined]
        assert {(line["kind"], line["booking"]) for line in owed} == {(kind, "demo")}

    def test_destroy_that_fails_on_a_living_host_keeps_the_stack(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        up(spec, place)
        hosts.set("lab-a1", "auth")
        outcome = do("destroy", spec, place)
        assert {(f.host, f.kind) for f in outcome.failures} == {("lab-a1", "auth")}
        assert hosts.roles("lab-a2") == {"identity"}  # on which the mesh of lab-a1 still depends
        hosts.clear("lab-a1", "auth")
        assert do("destroy", spec, place).failures == ()
        assert hosts.roles("lab-a1") == hosts.roles("lab-a2") == set()

    def test_a_worker_that_cannot_start_is_told(self, spec: BookingSpec, place: StackPlace) -> None:
        outcome = do("up", spec, replace(place, worker=("/nowhere/worker",)))
        assert {f.kind for f in outcome.failures} == {"worker"}

    def test_wrong_passphrase(self, spec: BookingSpec, place: StackPlace) -> None:
        up(spec, place)
        Path(place.passphrase_file).write_text("another")
        for operation in ("up", "drift", "destroy"):
            with pytest.raises(PassphraseWrong, match="passphrase"):
                do(operation, spec, place)

    def test_no_passphrase(self, spec: BookingSpec, place: StackPlace) -> None:
        Path(place.passphrase_file).unlink()
        with pytest.raises(PassphraseWrong, match="expected the passphrase"):
            do("up", spec, place)

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 3, "checkpoint": {"latest": 5}}'])
    def test_corrupt_state(self, spec: BookingSpec, place: StackPlace, content: str) -> None:
        up(spec, place)
        state = place.state_file("demo")
        assert state is not None
        state.write_text(content)
        for operation in ("up", "drift", "destroy"):
            with pytest.raises(StateCorrupt, match=r"demo\.json") as error:
                do(operation, spec, place)
            assert ".bak" in error.value.next_step

    def test_an_operation_that_is_none(self, spec: BookingSpec, place: StackPlace) -> None:
        with pytest.raises(SpecInvalid, match="preview, up"):
            do("dance", spec, place)

    def test_the_owner_of_the_lock_is_named(self, spec: BookingSpec, place: StackPlace) -> None:
        up(spec, place)
        locks = place.lock_dir("demo")
        assert locks is not None
        locks.mkdir(parents=True, exist_ok=True)
        lock = {"pid": 1, "username": "u", "hostname": "elsewhere.test", "timestamp": "2026-01-01T00:00:00Z"}
        (locks / "x.json").write_text(json.dumps(lock))
        with pytest.raises(StackLocked, match=r"pid 1 on elsewhere\.test since 2026"):
            do("up", spec, place)


class Operating:
    """An operation in a process of its own, with all the processes below it."""

    def __init__(self, operation: str, spec: BookingSpec, place: StackPlace) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(OPERATE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        asked = {"operation": operation, "spec": spec.encode(), "place": asdict(place)}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def await_step(self, host: str, role: str) -> None:
        for line in self._lines():
            event = json.loads(line)
            if (event.get("kind"), event.get("host"), event.get("role")) == ("step", host, role):
                return
        raise AssertionError(f"expected a step of {role} on {host}, found the end of the operation")

    def outcome(self) -> Outcome:
        last = json.loads(list(self._lines())[-1])["outcome"]
        return Outcome(interrupted=last["interrupted"], counts=last["counts"])

    def pids(self) -> dict[str, int]:
        """The processes by what they are."""
        found = {"operate": self.process.pid}
        for pid in descendants(self.process.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            for name, mark in {
                "runner": "stacks.runner",
                "provider": "pulumi-resource-timelock",
                "worker": "worker.py",
                "cli": "pulumi",
            }.items():
                if any(word.endswith(mark) for word in words):
                    found.setdefault(name, pid)
                    break
        return found

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        return iter(self.process.stdout)

    def kill(self) -> None:
        """Kill -9 everything, at once."""
        for pid in self.pids().values():
            with contextlib.suppress(ProcessLookupError):  # one ends by itself when another is killed
                os.kill(pid, signal.SIGKILL)
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self.close()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait(60)


class TestCutOff:
    """What is left after kill -9 converges: nothing twice, nothing orphaned."""

    @pytest.mark.parametrize("role", [pytest.param("identity", marks=pytest.mark.full), "mesh"])
    @pytest.mark.parametrize("victims", ["all", "operate", "runner", "cli", "provider", "worker"])
    def test_up_converges(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts, victims: str, role: str
    ) -> None:
        hosts.set("lab-a2", f"{role}.hang")
        with Operating("up", spec, place) as operating:
            operating.await_step("lab-a2", role)
            pids = operating.pids()
            assert set(pids) == {"operate", "runner", "cli", "provider", "worker"}
            for name, pid in pids.items():
                if victims in ("all", name):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            operating.close()
        until(lambda: not any(map(alive, pids.values())), f"all processes are gone: {pids}")
        hosts.clear("lab-a2", f"{role}.hang")
        before = hosts.outputs("lab-a1", "identity") if "identity" in hosts.roles("lab-a1") else None
        up(spec, place)
        assert hosts.roles("lab-a1") == hosts.roles("lab-a2") == ROLES
        assert before in (None, hosts.outputs("lab-a1", "identity"))
        urns = state_urns(spec, place)
        assert len(urns) == len(set(urns)) == 14
        assert do("drift", spec, place).drift == ()

    def test_destroy_at_once_finds_what_a_cut_off_create_left(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        hosts.set("lab-a2", "engine.hang")
        with Operating("up", spec, place) as operating:
            operating.await_step("lab-a2", "engine")
            operating.kill()
        hosts.clear("lab-a2", "engine.hang")
        hosts.set("lab-a2", "engine.json", json.dumps({"digest": "half", "outputs": {}}))
        do("destroy", spec, place)
        assert hosts.roles("lab-a1") == hosts.roles("lab-a2") == set()

    def test_destroy_converges(self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts) -> None:
        up(spec, place)
        hosts.set("lab-a2", "engine.hang")
        with Operating("destroy", spec, place) as operating:
            operating.await_step("lab-a2", "engine")
            operating.kill()
        hosts.clear("lab-a2", "engine.hang")
        assert do("destroy", spec, place).failures == ()
        assert hosts.roles("lab-a1") == hosts.roles("lab-a2") == set()


class TestInterrupts:
    def test_sigint_stops_cleanly_and_the_state_is_kept(
        self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts
    ) -> None:
        hosts.set("lab-a2", "mesh.hang")
        with Operating("up", spec, place) as operating:
            operating.await_step("lab-a2", "mesh")
            pids = operating.pids()
            operating.process.send_signal(signal.SIGINT)
            outcome = operating.outcome()
        assert outcome.interrupted
        assert operating.process.returncode == 0
        until(lambda: not any(map(alive, pids.values())), "all processes are gone")
        assert [line for line in journal(place, "failed") if line["kind"] == "cancelled"]
        hosts.clear("lab-a2", "mesh.hang")
        up(spec, place)
        assert hosts.roles("lab-a2") == ROLES

    def test_a_second_interrupt_stops_at_once(self, spec: BookingSpec, place: StackPlace, hosts: FakeHosts) -> None:
        hosts.set("lab-a2", "mesh.hang")
        control, began = Control(), threading.Event()

        def hear(event: Event) -> None:
            if (event.kind, event.host, event.role) == ("step", "lab-a2", "mesh"):
                control.interrupt()
                control.interrupt()
                began.set()

        outcome = operate("up", spec, place, hear, control=control)
        assert began.is_set()
        assert outcome.interrupted
        hosts.clear("lab-a2", "mesh.hang")
        up(spec, place)

    def test_an_interrupt_before_the_start_counts(self, spec: BookingSpec, place: StackPlace) -> None:
        control = Control()
        control.interrupt()
        assert operate("up", spec, place, lambda _: None, control=control).interrupted
