"""What holds for every driver that NVML speaks to: the fake one, and the host's own where it has one."""

import os
from collections.abc import Iterator

import pytest

from agent.nvml_sources import NvmlSources, Reading
from agent.nvml_watch import Down, NvmlWatch, starter
from agent.readings import Accounting, Gpus, Memory, Processes, Unavailable, Utilisation, Whole
from tests.plugins.nvml import FakeNvmlMaker

LIMIT_SECONDS = 30.0


@pytest.fixture(params=["fake", "real"])
def sources(request: pytest.FixtureRequest) -> Iterator[NvmlSources]:
    environment = dict(os.environ)
    if request.param == "fake":
        make: FakeNvmlMaker = request.getfixturevalue("new_fake_nvml")
        machine = make(2)
        machine.use(0)
        environment = machine.environment
    opened = NvmlSources(NvmlWatch(starter(environ=environment), limit_seconds=LIMIT_SECONDS))
    try:
        gpus = opened.gpus()
        if request.param == "real" and isinstance(gpus, Down):
            pytest.skip(f"no GPU driver on this machine: {gpus.reason}")
        yield opened
    finally:
        opened.close()


@pytest.fixture
def uuids(sources: NvmlSources) -> list[str]:
    return [gpu.uuid for gpu in known(sources).known]


def known(sources: NvmlSources) -> Gpus:
    gpus = sources.gpus()
    assert isinstance(gpus, Gpus)
    return gpus


def test_every_gpu_is_described_once(sources: NvmlSources) -> None:
    gpus = known(sources)
    assert gpus.known
    assert len({gpu.uuid for gpu in gpus.known}) == len(gpus.known)
    assert len({gpu.pci_bus_id for gpu in gpus.known}) == len(gpus.known)
    assert all(gpu.uuid.startswith("GPU-") and gpu.name and gpu.minor >= 0 for gpu in gpus.known)
    indices = [gpu.index for gpu in gpus.known] + [gpu.index for gpu in gpus.unknown]
    assert sorted(indices) == list(range(len(indices)))
    assert isinstance(gpus.driver_version, str)


def test_readings_answer_about_all_that_was_asked(sources: NvmlSources, uuids: list[str]) -> None:
    for reading in (sources.processes(uuids), sources.utilisation(uuids), sources.whole(uuids)):
        assert isinstance(reading, Reading)
        assert list(reading.of) == uuids
        assert 0 < reading.began_at_ns <= reading.ended_at_ns


def test_processes_have_pids(sources: NvmlSources, uuids: list[str]) -> None:
    reading = sources.processes(uuids)
    assert isinstance(reading, Reading)
    for value in reading.of.values():
        assert isinstance(value, Processes)
        assert all(row.pid > 0 and row.kind in ("compute", "graphics", "mps") for row in value.rows)


def test_the_cursor_only_goes_on(sources: NvmlSources, uuids: list[str]) -> None:
    cursors = dict.fromkeys(uuids, 0)
    for _ in range(3):
        reading = sources.utilisation(uuids)
        assert isinstance(reading, Reading)
        for uuid, value in reading.of.items():
            if isinstance(value, Unavailable):
                assert value.reason == "NOT_SUPPORTED"
                continue
            assert isinstance(value, Utilisation)
            assert value.restarted or all(row.timestamp_us > cursors[uuid] for row in value.rows)
            assert value.restarted or value.cursor_us >= cursors[uuid]
            cursors[uuid] = value.cursor_us


def test_memory_adds_up_and_energy_grows(sources: NvmlSources, uuids: list[str]) -> None:
    before, after = sources.whole(uuids), sources.whole(uuids)
    assert isinstance(before, Reading)
    assert isinstance(after, Reading)
    for uuid in uuids:
        first, second = before.of[uuid], after.of[uuid]
        assert isinstance(first, Whole)
        assert isinstance(second, Whole)
        if isinstance(first.memory, Memory):
            assert 0 <= first.memory.used_bytes <= first.memory.total_bytes
            assert first.memory.free_bytes <= first.memory.total_bytes
        if isinstance(first.energy_millijoules, int) and isinstance(second.energy_millijoules, int):
            assert 0 <= first.energy_millijoules <= second.energy_millijoules


def test_accounting_is_on_or_says_why_not(sources: NvmlSources, uuids: list[str]) -> None:
    for _ in range(2):
        reading = sources.accounting(uuids)
        assert isinstance(reading, Reading)
        for value in reading.of.values():
            if isinstance(value, Unavailable):
                assert value.reason in ("NOT_SUPPORTED", "NO_PERMISSION")
                continue
            assert isinstance(value, Accounting)
            assert value.reset == ""
            assert all(row.pid > 0 for row in value.rows)
            assert all((row.lived_ms is None) == row.running for row in value.rows)


def test_a_gpu_that_is_not_there_is_unavailable(sources: NvmlSources) -> None:
    nobody = "GPU-ffffffff-ffff-4fff-bfff-ffffffffffff"
    for reading in (sources.processes([nobody]), sources.utilisation([nobody]), sources.accounting([nobody])):
        assert isinstance(reading, Reading)
        assert isinstance(reading.of[nobody], Unavailable)
