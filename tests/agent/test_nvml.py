"""The driver as the agent reads it: through the real binding and the reading process, with real processes on it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from agent.nvml_protocol import AboutGpu, Answer, Question
from agent.nvml_sources import NvmlSources, Reading
from agent.nvml_watch import Down, NvmlWatch, starter
from agent.pid_namespace import is_first
from agent.readings import (
    Accounting,
    Gpus,
    Memory,
    MigMode,
    Process,
    Processes,
    ProcessList,
    Unavailable,
    Utilisation,
    UtilisationRow,
    Whole,
)
from tests.fakes.wait import until
from tests.nvml.fake import BOGUS, GIB, LOST, MEMORYLESS, MIG, SCRAMBLED, FakeNvml
from tests.plugins.nvml import FakeNvmlMaker

T = TypeVar("T", Processes, Utilisation, Accounting, Whole)
NOT_SUPPORTED, NOT_FOUND, INSUFFICIENT_SIZE, GPU_IS_LOST, UNKNOWN, OF_THE_FUTURE = 3, 6, 7, 15, 999, 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounting is switched by root only, as nvml.h says")


class Eyes:
    """An agent's sources, and what they see of the first GPU."""

    def __init__(self, machine: FakeNvml, limit_seconds: float = 30.0) -> None:
        self.machine = machine
        self.watch = NvmlWatch(starter(environ=machine.environment), limit_seconds=limit_seconds)
        self.sources = NvmlSources(self.watch)
        self.uuids = [gpu.uuid for gpu in machine.gpus]

    def processes(self, gpu: int = 0) -> Processes:
        return seen(self.sources.processes(self.uuids), self.uuids[gpu], Processes)

    def utilisation(self, gpu: int = 0) -> Utilisation:
        return seen(self.sources.utilisation(self.uuids), self.uuids[gpu], Utilisation)

    def accounting(self, gpu: int = 0) -> Accounting:
        return seen(self.sources.accounting(self.uuids), self.uuids[gpu], Accounting)

    def whole(self, gpu: int = 0) -> Whole:
        return seen(self.sources.whole(self.uuids), self.uuids[gpu], Whole)

    def gpus(self) -> Gpus:
        gpus = self.sources.gpus()
        assert isinstance(gpus, Gpus)
        return gpus

    def pids(self, gpu: int = 0) -> list[int]:
        return [row.pid for row in self.processes(gpu).rows]


def seen(reading: Reading[T] | Down, uuid: str, kind: type[T]) -> T:
    assert isinstance(reading, Reading), reading
    value = reading.of[uuid]
    assert isinstance(value, kind), value
    return value


Look = Callable[..., Eyes]


@pytest.fixture
def look() -> Iterator[Look]:
    made: list[Eyes] = []

    def open_eyes(machine: FakeNvml, limit_seconds: float = 30.0) -> Eyes:
        made.append(Eyes(machine, limit_seconds))
        return made[-1]

    yield open_eyes
    for one in made:
        one.watch.close()


@pytest.fixture
def eyes(fake_nvml: FakeNvml, look: Look) -> Eyes:
    return look(fake_nvml)


def test_gpus_are_named(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    gpus = eyes.gpus()
    assert gpus.unknown == ()
    assert gpus.driver_version == fake_nvml.driver
    assert gpus.all_pids == is_first()
    assert [(gpu.uuid, gpu.index, gpu.minor, gpu.pci_bus_id, gpu.name) for gpu in gpus.known] == [
        (gpu.uuid, index, gpu.minor, gpu.pci_bus_id, gpu.name) for index, gpu in enumerate(fake_nvml.gpus)
    ]


def test_processes_come_and_go(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    assert eyes.processes() == Processes(
        compute=ProcessList(rows=()), graphics=ProcessList(rows=()), mps=ProcessList(rows=())
    )
    users = {kind: fake_nvml.use(0, 2 * GIB, kind=kind) for kind in ("compute", "graphics", "mps")}
    found = eyes.processes()
    assert found.complete
    assert found.rows == tuple(Process(pid=user.pid, memory_bytes=2 * GIB, kind=kind) for kind, user in users.items())
    assert eyes.pids(1) == []
    for user in users.values():
        user.kill()
    until(lambda: eyes.pids() == [], "the killed processes leave the lists")


def test_more_processes_than_there_is_room_for_at_first(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    pids = {fake_nvml.use(0).pid for _ in range(70)}
    assert set(eyes.pids()) == pids


def test_a_list_that_never_fits_is_given_up(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    function = "nvmlDeviceGetComputeRunningProcesses_v3"
    fake_nvml.fail(function, INSUFFICIENT_SIZE)
    assert eyes.processes().compute == Unavailable(reason="INSUFFICIENT_SIZE", function=function)


def test_a_list_that_is_missing_leaves_the_others(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    user = fake_nvml.use(0)
    fake_nvml.fail("nvmlDeviceGetMPSComputeRunningProcesses_v3", NOT_SUPPORTED)
    found = eyes.processes()
    assert [row.pid for row in found.rows] == [user.pid]
    assert not found.complete
    assert isinstance(found.mps, Unavailable)


def test_an_old_driver_is_asked_for_what_it_has(new_fake_nvml: FakeNvmlMaker, look: Look) -> None:
    newer = [f"nvmlDeviceGet{kind}RunningProcesses_v3" for kind in ("Compute", "Graphics", "MPSCompute")]
    old = new_fake_nvml(missing=(*newer, "nvmlDeviceGetMemoryInfo_v2"))
    user = old.use(0, 3 * GIB)
    eyes = look(old)
    assert eyes.processes().rows == (Process(pid=user.pid, memory_bytes=3 * GIB, kind="compute"),)
    memory = eyes.whole().memory
    assert isinstance(memory, Memory)
    assert (memory.used_bytes, memory.reserved_bytes) == (3 * GIB, None)


def test_a_driver_without_lists_says_so(new_fake_nvml: FakeNvmlMaker, look: Look) -> None:
    names = tuple(f"nvmlDeviceGetComputeRunningProcesses{version}" for version in ("", "_v2", "_v3"))
    found = look(new_fake_nvml(missing=names)).processes()
    assert found.compute == Unavailable(reason="FUNCTION_NOT_FOUND", function=names[1])
    assert found.graphics == ProcessList(rows=())


def test_utilisation_goes_on_from_its_cursor(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    idle = Utilisation(rows=(), cursor_us=0)
    assert eyes.utilisation() == idle
    user = fake_nvml.use(0, utilisation=40)
    rows = until_rows(eyes)
    assert {(row.pid, row.sm_percent) for row in rows} == {(user.pid, 40)}
    later = until_rows(eyes)
    assert min(row.timestamp_us for row in later) > max(row.timestamp_us for row in rows)
    assert eyes.utilisation(1) == idle


def until_rows(eyes: Eyes) -> tuple[UtilisationRow, ...]:
    """Read until there is something."""
    found: list[UtilisationRow] = []

    def read() -> bool:
        found.extend(eyes.utilisation().rows)
        return bool(found)

    until(read, "samples")
    return tuple(found)


@pytest.mark.parametrize("bogus", [False, True])
def test_a_cursor_of_another_clock_begins_anew(fake_nvml: FakeNvml, eyes: Eyes, bogus: bool) -> None:
    user = fake_nvml.use(0)
    until_rows(eyes)
    fake_nvml.turn(BOGUS, 0, on=bogus)
    ahead = Question(number=99, source="utilisation", about=(AboutGpu(uuid=eyes.uuids[0], since_us=2**62),))
    answer = eyes.watch.ask(ahead)
    assert isinstance(answer, Answer)
    [value] = (one.value for one in answer.values)
    assert isinstance(value, Utilisation)
    assert value.restarted
    assert {row.pid for row in value.rows} == {user.pid}
    assert value.cursor_us < 2**62


def test_bogus_samples_are_counted_and_hide_nothing(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    fake_nvml.turn(BOGUS, 0)
    assert eyes.utilisation() == Utilisation(rows=(), cursor_us=0, rejected=2)
    user = fake_nvml.use(0)
    assert {row.pid for row in until_rows(eyes)} == {user.pid}
    assert {row.pid for row in until_rows(eyes)} == {user.pid}


def test_success_without_samples_is_no_sample(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    fake_nvml.fail("nvmlDeviceGetProcessUtilization", 0)
    assert eyes.utilisation() == Utilisation(rows=(), cursor_us=0)


def test_an_active_process_that_the_list_omits_is_seen_by_its_work(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    user = fake_nvml.use(0)
    fake_nvml.omit(0, user.pid)
    assert eyes.pids() == []
    assert {row.pid for row in until_rows(eyes)} == {user.pid}


def test_scrambled_pids_are_given_as_they_come(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    user = fake_nvml.use(0)
    fake_nvml.turn(SCRAMBLED, 0)
    [pid] = eyes.pids()
    assert pid != user.pid
    assert not Path(f"/proc/{pid}").exists()


@needs_root
def test_accounting_sees_who_lived_between_two_readings(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    assert eyes.accounting().rows == ()
    stopped, killed, running = fake_nvml.use(0, 3 * GIB), fake_nvml.use(0, GIB), fake_nvml.use(0, GIB)
    stopped.stop()
    killed.kill()
    until(lambda: len(eyes.accounting().past.dead) == 2, "two have ended")
    rows = {row.pid: row for row in eyes.accounting().rows}
    assert set(rows) == {stopped.pid, killed.pid, running.pid}
    assert rows[stopped.pid].max_memory_bytes == 3 * GIB
    assert rows[stopped.pid].lived_ms is not None
    assert rows[running.pid].lived_ms is None
    assert rows[running.pid].running
    assert eyes.accounting().past.epoch == 1
    assert not eyes.accounting().overwritten


@needs_root
def test_accounting_that_we_switched_on_is_switched_off_again(fake_nvml: FakeNvml, look: Look) -> None:
    first, second = look(fake_nvml), look(fake_nvml)
    assert not first.accounting().past.found_on
    assert second.accounting().past.found_on
    second.sources.close()
    assert look(fake_nvml).accounting().past.found_on
    first.sources.close()
    assert not look(fake_nvml).accounting().past.found_on


@needs_root
def test_a_reloaded_driver_is_a_new_epoch(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    eyes.accounting()
    fake_nvml.use(0).stop()
    assert len(eyes.accounting().past.dead) == 1
    fake_nvml.reload_driver()
    found = eyes.accounting()
    assert found.reset == "accounting was off again"
    assert (found.rows, found.past.epoch) == ((), 2)
    assert not found.past.found_on
    assert eyes.accounting().reset == ""
    assert eyes.accounting().past.epoch == 2


@needs_root
def test_the_past_outlives_the_reading_process(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    eyes.accounting()
    assert eyes.watch.pid is not None
    os.kill(eyes.watch.pid, 9)
    until(lambda: isinstance(eyes.sources.accounting(eyes.uuids), Reading), "another process reads")
    found = eyes.accounting()
    assert (found.past.found_on, found.past.epoch) == (False, 1)


@needs_root
def test_a_ring_of_the_dead_that_went_round_is_noticed(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    eyes.accounting()

    def die(count: int) -> None:
        for _ in range(count):
            user = fake_nvml.use(0)
            user.stop()
            user.close()

    die(1)
    assert not eyes.accounting().overwritten
    die(127)
    assert not eyes.accounting().overwritten
    die(127)
    found = eyes.accounting()
    assert not found.overwritten  # one that was seen is still there
    assert found.reset == ""
    die(128)
    found = eyes.accounting()
    assert found.overwritten
    assert found.reset == ""


def test_a_mig_gpu_says_what_it_cannot(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    user = fake_nvml.use(0)
    fake_nvml.turn(MIG, 0)
    assert eyes.whole().mig == MigMode(current=True, pending=True)
    assert eyes.pids() == [user.pid]
    for reading in (eyes.sources.utilisation(eyes.uuids), eyes.sources.accounting(eyes.uuids)):
        assert isinstance(reading, Reading)
        value = reading.of[eyes.uuids[0]]
        assert isinstance(value, Unavailable)
        assert value.reason in ("NOT_SUPPORTED", "NO_PERMISSION")


def test_a_lost_gpu_hides_no_other(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    user = fake_nvml.use(1)
    eyes.gpus()
    fake_nvml.turn(LOST, 0)
    gpus = eyes.gpus()
    assert [(one.index, one.why.reason) for one in gpus.unknown] == [(0, "GPU_IS_LOST")]
    assert [gpu.index for gpu in gpus.known] == [1]
    assert eyes.pids(1) == [user.pid]
    lost = eyes.processes()
    assert not lost.complete
    for one in (lost.compute, lost.graphics, lost.mps):
        assert isinstance(one, Unavailable)
        assert one.reason == "GPU_IS_LOST"


def test_a_gpu_that_was_lost_before_anyone_looked(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    fake_nvml.turn(LOST, 0)
    reading = eyes.sources.processes(eyes.uuids)
    assert isinstance(reading, Reading)
    value = reading.of[eyes.uuids[0]]
    assert isinstance(value, Unavailable)
    assert value.reason == "GPU_IS_LOST"


def test_memory_that_is_not_told_is_none(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    eyes.sources.accounting(eyes.uuids)
    user = fake_nvml.use(0)
    fake_nvml.turn(MEMORYLESS, 0)
    assert eyes.processes().rows == (Process(pid=user.pid, memory_bytes=None, kind="compute"),)
    if os.geteuid() == 0:
        assert [row.max_memory_bytes for row in eyes.accounting().rows] == [None]


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NOT_FOUND, GPU_IS_LOST, UNKNOWN, OF_THE_FUTURE])
def test_what_is_unknown_is_never_a_number(fake_nvml: FakeNvml, eyes: Eyes, code: int) -> None:
    fake_nvml.use(0)
    gpus = eyes.gpus()
    assert len(gpus.known) == 2
    fake_nvml.fail("*", code)
    whole, processes = eyes.whole(), eyes.processes()
    for value in (
        *(whole.memory, whole.power_milliwatts, whole.energy_millijoules, whole.mig),
        *(processes.compute, processes.graphics, processes.mps),
        eyes.sources.gpus(),
    ):
        assert isinstance(value, Unavailable)
    accounting, utilisation = eyes.sources.accounting(eyes.uuids), eyes.sources.utilisation(eyes.uuids)
    assert isinstance(accounting, Reading)
    assert isinstance(utilisation, Reading)
    assert all(isinstance(value, Unavailable) for value in accounting.of.values())
    if code != NOT_FOUND:  # of utilisation it means that there is no sample (nvml.h)
        assert all(isinstance(value, Unavailable) for value in utilisation.of.values())


def test_a_gpu_without_a_name_is_not_a_gpu_of_no_name(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    fake_nvml.fail("nvmlDeviceGetMinorNumber", NOT_SUPPORTED)
    gpus = eyes.gpus()
    assert gpus.known == ()
    assert [one.why.function for one in gpus.unknown] == ["nvmlDeviceGetMinorNumber"] * 2


@needs_root
def test_a_life_that_cannot_be_read_is_named(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    eyes.accounting()
    user = fake_nvml.use(0)
    fake_nvml.fail("nvmlDeviceGetAccountingStats", NOT_FOUND)
    found = eyes.accounting()
    assert found.rows == ()
    assert [(one.pid, one.why.reason) for one in found.unknown] == [(user.pid, "NOT_FOUND")]


def test_without_a_driver_the_sources_are_down_until_there_is_one(fake_nvml: FakeNvml, eyes: Eyes) -> None:
    fake_nvml.fail("nvmlInitWithFlags", 9)
    down = eyes.sources.gpus()
    assert isinstance(down, Down)
    assert "DRIVER_NOT_LOADED" in down.reason
    assert down.next_step
    again = eyes.sources.processes(eyes.uuids)
    assert isinstance(again, Down)
    assert again.since_ns == down.since_ns
    fake_nvml.fail("nvmlInitWithFlags", 9, on=False)
    assert len(eyes.gpus().known) == 2


def test_without_the_library_the_sources_are_down(fake_nvml: FakeNvml) -> None:
    elsewhere = {**fake_nvml.environment, "LD_LIBRARY_PATH": "/nonexistent"}
    watch = NvmlWatch(starter(environ=elsewhere))
    down = NvmlSources(watch).gpus()
    watch.close()
    if isinstance(down, Gpus):
        pytest.skip("this machine has a driver library of its own")
    assert isinstance(down, Down)
    assert "LIBRARY_NOT_FOUND" in down.reason


def test_a_hanging_driver_is_down_and_comes_back(fake_nvml: FakeNvml, look: Look) -> None:
    eyes = look(fake_nvml, limit_seconds=1.0)
    user = fake_nvml.use(0)
    assert eyes.pids() == [user.pid]
    first = eyes.watch.pid
    fake_nvml.hang("nvmlDeviceGetGraphicsRunningProcesses_v3")
    down = eyes.sources.processes(eyes.uuids)
    assert isinstance(down, Down)
    assert down.reason == "no answer about processes within 1 s"
    fake_nvml.hang("nvmlDeviceGetGraphicsRunningProcesses_v3", on=False)
    assert eyes.pids() == [user.pid]
    assert eyes.watch.pid not in (None, first)
