"""The engine with the real Pulumi CLI and the real provider: what each operation does to hosts and state."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stacks.booking import resources
from stacks.engine import Control, Event, Outcome, operate
from stacks.errors import PassphraseWrong, SpecInvalid, StackLocked, StateCorrupt
from stacks.roles import BY_NAME
from tests.fakes.wait import alive, until
from tests.stacks.world import MESH_SECRET, Operating, World, names

ROLES = set(BY_NAME)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A booking of which nothing is there yet."""
    return World.make(tmp_path)


@pytest.fixture(scope="module")
def stood_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Outcome, list[Event]]:
    """A booking that is up, what came of that, and what was told meanwhile."""
    made, events = World.make(tmp_path_factory.mktemp("running")), list[Event]()
    outcome = operate("up", made.spec, made.place, events.append)
    return made, outcome, events


@pytest.fixture
def running(stood_up: tuple[World, Outcome, list[Event]]) -> Iterator[World]:
    """A booking that is up; whoever changes it puts it right again."""
    found = stood_up[0]
    yield found
    assert found.hosts.roles("lab-a1") == found.hosts.roles("lab-a2") == ROLES


class TestLife:
    def test_up_creates_all_roles_and_tells_live(
        self, running: World, stood_up: tuple[World, Outcome, list[Event]]
    ) -> None:
        _, outcome, events = stood_up
        assert (outcome.counts, outcome.failures) == ({"create": 14}, ())
        told = {(e.kind, e.host, e.role, e.text, e.state) for e in events}
        assert ("step", "lab-a2", "mesh", "file mesh.json", "changed") in told
        assert ("resource", "lab-a1", "ray", "create", "done") in told
        assert not [e for e in events if e.kind == "note"]

    def test_outputs_hold_what_others_need(self, running: World, stood_up: tuple[World, Outcome, list[Event]]) -> None:
        outputs = stood_up[1].outputs
        assert outputs["head"] == "10.88.0.1"
        host = outputs["lab-a2"]
        assert isinstance(host, dict)
        assert host["mesh_address"] == "10.88.0.2"
        assert host["identity"] == running.hosts.outputs("lab-a2", "identity")

    def test_again_changes_nothing_and_asks_one_worker(self, running: World) -> None:
        before = len(running.hosts.jobs("apply")), len(running.hosts.jobs("observe"))
        outcome = running.up()
        assert (outcome.counts, outcome.changed) == ({"same": 14}, 0)
        observed = running.hosts.jobs("observe")[before[1] :]
        assert (len(running.hosts.jobs("apply")), len(observed)) == (before[0], 14)
        assert len({job["pid"] for job in observed}) == 1

    def test_drift_names_what_differs_and_up_repairs_only_that(self, running: World) -> None:
        running.hosts.delete("lab-a1", "firewall")
        running.hosts.delete("lab-a2", "image")
        outcome = running.do("drift")
        assert [d.resource for d in outcome.drift] == ["lab-a1.firewall", "lab-a2.image"]
        assert (outcome.drift[0].changes, outcome.failures) == (("file firewall.json: missing",), ())
        assert running.hosts.roles("lab-a1") == ROLES - {"firewall"}  # drift repairs nothing
        assert names(running.up()) == ["lab-a1.firewall", "lab-a2.image"]

    def test_refresh_remembers_drift_for_an_up_that_does_not_look(self, running: World) -> None:
        running.hosts.delete("lab-a1", "engine")
        running.do("refresh")
        assert names(running.do("up", refresh=False)) == ["lab-a1.engine"]
        assert running.do("drift").drift == ()

    def test_a_new_head_session_reaches_the_workers(self, running: World) -> None:
        running.hosts.delete("lab-a1", "ray")
        assert names(running.up()) == ["lab-a1.ray", "lab-a2.ray"]

    def test_new_code_looks_at_every_host_again(self, running: World) -> None:
        assert running.of(replace(running.spec, code_version="2")).up().counts == {"update": 14}
        assert running.up().counts == {"update": 14}

    def test_preview_touches_no_host(self, world: World) -> None:
        assert world.do("preview").counts == {"create": 14}
        assert world.hosts.jobs("apply", "observe", "remove") == []

    def test_a_host_that_leaves_is_cleared_and_one_that_comes_is_made(self, tmp_path: Path) -> None:
        three = World.make(tmp_path, hosts=3)
        first, second, third = three.spec.hosts
        three.of(replace(three.spec, hosts=(first, second))).up()
        outcome = three.of(replace(three.spec, hosts=(first, third))).up()
        assert (three.hosts.roles("lab-a2"), three.hosts.roles("lab-a3")) == (set(), ROLES)
        assert outcome.counts["delete"] == outcome.counts["create"] == 7

    def test_destroy_leaves_nothing_on_hosts_nor_here(self, world: World) -> None:
        world.up()
        assert world.do("destroy").counts == {"delete": 14}
        assert world.hosts.roles("lab-a1") == world.hosts.roles("lab-a2") == set()
        assert list((world.root / "state" / ".pulumi" / "stacks").rglob("demo*")) == []
        assert world.do("destroy") == Outcome()

    def test_secrets_are_nowhere_in_clear(self, running: World) -> None:
        key = next(key for resource in resources(running.spec) for key in resource.keys)
        secrets = (key.derive(MESH_SECRET), MESH_SECRET.hex(), MESH_SECRET.decode())
        files = [path for path in running.root.rglob("*") if path.is_file() and path.name != "mesh.secret"]
        assert any(path.name == "demo.json" for path in files)
        for path in files:
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


class TestFailures:
    def test_a_failed_step_stops_only_its_host(self, world: World) -> None:
        world.hosts.fail("lab-a2", "engine", kind="disk_full", step="data-root", cause="full", next="free some")
        (failure,) = world.do("up").failures
        assert (failure.resource, failure.host, failure.kind) == ("lab-a2.engine", "lab-a2", "disk_full")
        assert (failure.step, failure.cause, failure.next_step) == ("data-root", "full", "free some")
        assert world.hosts.roles("lab-a1") == ROLES
        assert "firewall" not in world.hosts.roles("lab-a2")
        world.hosts.clear("lab-a2", "engine.fail")
        assert not [name for name in names(world.up()) if name.startswith("lab-a1")]
        assert world.hosts.roles("lab-a2") == ROLES

    def test_a_create_that_failed_half_way_is_destroyed(self, world: World) -> None:
        world.hosts.fail("lab-a2", "engine", kind="step", step="unit", cause="failed", next="")
        world.do("up")
        assert "engine" in world.hosts.roles("lab-a2")
        assert world.do("destroy").failures == ()
        assert world.hosts.roles("lab-a1") == world.hosts.roles("lab-a2") == set()

    def test_an_unreachable_host_is_drift_and_a_failure(self, running: World) -> None:
        running.hosts.set("lab-a2", "unreachable")
        running.hosts.delete("lab-a1", "firewall")
        drift = running.do("drift")
        assert [(f.host, f.kind) for f in drift.failures] == [("lab-a2", "unreachable")]
        assert "lab-a1.firewall" in [d.resource for d in drift.drift]
        outcome = running.do("up")
        assert [(f.resource, f.kind) for f in outcome.failures] == [("lab-a2.identity", "unreachable")]
        assert names(outcome) == ["lab-a1.firewall"]
        running.hosts.clear("lab-a2", "unreachable")
        running.up()
        assert running.do("drift").drift == ()

    def test_a_changed_host_key_is_told_as_such(self, world: World) -> None:
        world.hosts.set("lab-a1", "host_key")
        assert [(f.host, f.kind, f.step) for f in world.do("up").failures] == [("lab-a1", "host_key", "connect")]

    @pytest.mark.parametrize("kind", ["unreachable", "host_key"])
    def test_destroy_goes_on_without_a_lost_host_and_records_what_it_owes(self, world: World, kind: str) -> None:
        world.up()
        world.hosts.set("lab-a2", kind)
        outcome = world.do("destroy")
        assert (outcome.failures, outcome.counts) == ((), {"delete": 14})
        assert world.hosts.roles("lab-a1") == set()
        owed = world.journal("quarantined")
        assert {(line["host"], line["kind"], line["booking"]) for line in owed} == {("lab-a2", kind, "demo")}
        assert sorted(str(line["role"]) for line in owed) == sorted(ROLES)

    def test_destroy_that_fails_on_a_living_host_keeps_the_stack(self, world: World) -> None:
        world.up()
        world.hosts.set("lab-a1", "auth")
        outcome = world.do("destroy")
        assert {(f.host, f.kind) for f in outcome.failures} == {("lab-a1", "auth")}
        assert world.hosts.roles("lab-a2") == {"identity"}  # on which the mesh of lab-a1 still depends
        world.hosts.clear("lab-a1", "auth")
        assert world.do("destroy").failures == ()
        assert world.hosts.roles("lab-a1") == world.hosts.roles("lab-a2") == set()

    def test_a_worker_that_cannot_start_is_told(self, world: World) -> None:
        broken = replace(world, place=replace(world.place, worker=("/nowhere/worker",)))
        assert {f.kind for f in broken.do("up").failures} == {"worker"}

    @pytest.mark.parametrize("operation", ["up", "drift", "destroy"])
    def test_wrong_passphrase(self, running: World, operation: str) -> None:
        file = Path(running.place.passphrase_file)
        right = file.read_text()
        file.write_text("another")
        try:
            with pytest.raises(PassphraseWrong, match="found another"):
                running.do(operation)
        finally:
            file.write_text(right)

    @pytest.mark.parametrize("operation", ["up", "drift", "destroy"])
    def test_corrupt_state(self, running: World, operation: str) -> None:
        state = running.place.state_file("demo")
        assert state is not None
        right = state.read_bytes()
        state.write_bytes(right[: len(right) // 2])
        try:
            with pytest.raises(StateCorrupt, match=r"demo\.json") as error:
                running.do(operation)
            assert ".bak" in error.value.next_step
        finally:
            state.write_bytes(right)

    def test_the_owner_of_the_lock_is_named(self, running: World) -> None:
        locks = running.place.lock_dir("demo")
        assert locks is not None
        owner = {"pid": 1, "username": "u", "hostname": "elsewhere.test", "timestamp": "2026-01-01T00:00:00Z"}
        (locks / "x.json").write_text(json.dumps(owner))
        try:
            with pytest.raises(StackLocked, match=r"pid 1 on elsewhere\.test since 2026"):
                running.do("up")
        finally:
            (locks / "x.json").unlink()

    def test_an_operation_that_is_none(self, world: World) -> None:
        with pytest.raises(SpecInvalid, match="preview, up"):
            world.do("dance")


class TestCutOff:
    """What is left after kill -9 converges: nothing twice, nothing orphaned."""

    @pytest.mark.parametrize("role", [pytest.param("identity", marks=pytest.mark.full), "mesh"])
    @pytest.mark.parametrize("victims", ["all", "operate", "runner", "cli", "provider", "worker"])
    def test_up_converges(self, world: World, victims: str, role: str) -> None:
        world.hosts.set("lab-a2", f"{role}.hang")
        with Operating("up", world) as operating:
            operating.await_step("lab-a2", role)
            pids = operating.pids()
            assert set(pids) == {"operate", "runner", "cli", "provider", "worker"}
            operating.kill(*(() if victims == "all" else (victims,)))
            operating.process.wait(60)
        until(lambda: not any(map(alive, pids.values())), f"all processes are gone: {pids}")
        world.hosts.clear("lab-a2", f"{role}.hang")
        before = world.hosts.outputs("lab-a1", "identity") if "identity" in world.hosts.roles("lab-a1") else None
        world.up()
        assert world.hosts.roles("lab-a1") == world.hosts.roles("lab-a2") == ROLES
        assert before in (None, world.hosts.outputs("lab-a1", "identity"))
        urns = world.urns()
        assert len(urns) == len(set(urns)) == 14
        assert world.do("drift").drift == ()

    def test_destroy_at_once_finds_what_a_cut_off_create_left(self, world: World) -> None:
        world.hosts.set("lab-a2", "engine.hang")
        with Operating("up", world) as operating:
            operating.await_step("lab-a2", "engine")
            operating.kill()
        world.hosts.clear("lab-a2", "engine.hang")
        world.hosts.set("lab-a2", "engine.json", json.dumps({"digest": "half", "outputs": {}}))
        assert world.do("destroy").failures == ()
        assert world.hosts.roles("lab-a1") == world.hosts.roles("lab-a2") == set()

    def test_destroy_converges(self, world: World) -> None:
        world.up()
        world.hosts.set("lab-a2", "engine.hang")
        with Operating("destroy", world) as operating:
            operating.await_step("lab-a2", "engine")
            operating.kill()
        world.hosts.clear("lab-a2", "engine.hang")
        assert world.do("destroy").failures == ()
        assert world.hosts.roles("lab-a1") == world.hosts.roles("lab-a2") == set()


class TestInterrupts:
    def test_sigint_stops_cleanly_and_the_state_is_kept(self, world: World) -> None:
        world.hosts.set("lab-a2", "mesh.hang")
        with Operating("up", world) as operating:
            operating.await_step("lab-a2", "mesh")
            pids = operating.pids()
            operating.process.send_signal(signal.SIGINT)
            assert operating.interrupted()
            assert operating.process.wait(60) == 0
        until(lambda: not any(map(alive, pids.values())), "all processes are gone")
        assert [line for line in world.journal("failed") if line["kind"] == "cancelled"]
        world.hosts.clear("lab-a2", "mesh.hang")
        world.up()
        assert world.hosts.roles("lab-a2") == ROLES

    def test_a_second_interrupt_stops_at_once(self, world: World) -> None:
        world.hosts.set("lab-a2", "mesh.hang")
        control, began = Control(), threading.Event()

        def hear(event: Event) -> None:
            if (event.kind, event.host, event.role) == ("step", "lab-a2", "mesh"):
                control.interrupt()
                control.interrupt()
                began.set()

        outcome = operate("up", world.spec, world.place, hear, control=control)
        assert began.is_set()
        assert outcome.interrupted
        world.hosts.clear("lab-a2", "mesh.hang")
        world.up()

    def test_an_interrupt_before_the_start_counts(self, world: World) -> None:
        control = Control()
        control.interrupt()
        assert operate("up", world.spec, world.place, lambda _: None, control=control).interrupted
