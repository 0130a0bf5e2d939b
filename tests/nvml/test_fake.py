"""The fake driver does what nvml.h says, to the unmodified nvidia-ml-py, with real processes on its GPUs."""

import ctypes
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.wait import until
from tests.nvml import build
from tests.nvml.fake import BOGUS, GIB, LOST, MEMORYLESS, MIG, SCRAMBLED, FakeNvml
from tests.nvml.reader import Reader
from tests.plugins.nvml import FakeNvmlMaker

INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, INSUFFICIENT_SIZE = 2, 3, 4, 6, 7
FUNCTION_NOT_FOUND, GPU_IS_LOST, VERSION_MISMATCH = 13, 15, 25
UTILISATION = "[(s.pid, s.timeStamp, s.smUtil) for s in n.nvmlDeviceGetProcessUtilization(gpu(0), {since})]"
ACCOUNTED = "n.nvmlDeviceGetAccountingPids(gpu(0))"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounting is switched by root only, as nvml.h says")


OWN_PIDS = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture
def own_pids() -> tuple[str, ...]:
    """What starts a program in a pid namespace of its own, as in a container."""
    tried = subprocess.run((*OWN_PIDS, "true"), capture_output=True, text=True, check=False, timeout=60)
    if tried.returncode:
        pytest.skip(f"no pid namespaces here: {tried.stderr.strip()}")
    return OWN_PIDS


@pytest.fixture
def read(fake_nvml: FakeNvml) -> Iterator[Reader]:
    with Reader(fake_nvml) as reader:
        yield reader


def stats(read: Reader, pid: int) -> dict[str, int]:
    fields = ("isRunning", "maxMemoryUsage", "time", "startTime", "gpuUtilization")
    values = ", ".join(f"'{field}': s.{field}" for field in fields)
    found: dict[str, int] = read(f"[{{{values}}} for s in (n.nvmlDeviceGetAccountingStats(gpu(0), {pid}),)][0]")
    return found


def energy(read: Reader, gpu: int) -> int:
    return int(read(f"n.nvmlDeviceGetTotalEnergyConsumption(gpu({gpu}))"))


def test_all_that_the_binding_names_is_there(fake_nvml: FakeNvml, read: Reader) -> None:
    library = ctypes.CDLL(str(fake_nvml.built / build.SONAME))
    absent = [name for name in build.names() if not hasattr(library, name)]
    assert absent == []
    assert len(build.names()) > 400
    assert read.code("n.nvmlDeviceGetFanSpeed(gpu(0))") == NOT_SUPPORTED


def test_only_nvml_is_exported(fake_nvml: FakeNvml) -> None:
    library = ctypes.CDLL(str(fake_nvml.built / build.SONAME))
    assert not hasattr(library, "registry_open")


def test_gpus_are_what_the_machine_says(fake_nvml: FakeNvml, read: Reader) -> None:
    assert read("n.nvmlDeviceGetCount()") == 2
    for index, gpu in enumerate(fake_nvml.gpus):
        assert read(f"n.nvmlDeviceGetUUID(gpu({index}))") == gpu.uuid
        assert read(f"n.nvmlDeviceGetName(gpu({index}))") == gpu.name
        assert read(f"n.nvmlDeviceGetMinorNumber(gpu({index}))") == gpu.minor
        assert read(f"n.nvmlDeviceGetPciInfo(gpu({index})).busId") == gpu.pci_bus_id
        assert read(f"n.nvmlDeviceGetMemoryInfo(gpu({index})).total") == gpu.memory_bytes
        assert read(f"n.nvmlDeviceGetIndex(n.nvmlDeviceGetHandleByUUID('{gpu.uuid}'))") == index
    assert read.code("gpu(2)") == INVALID_ARGUMENT
    assert read.code("n.nvmlDeviceGetHandleByUUID('GPU-none')") == NOT_FOUND
    assert read("n.nvmlSystemGetDriverVersion()") == fake_nvml.driver


def test_a_process_is_seen_with_what_it_holds(fake_nvml: FakeNvml, read: Reader) -> None:
    assert read.processes(0) == []
    user = fake_nvml.use(0, 2 * GIB)
    assert read.processes(0) == [(user.pid, 2 * GIB)]
    assert read.processes(1) == []
    user.hold(3 * GIB)
    assert read.processes(0) == [(user.pid, 3 * GIB)]
    assert read("n.nvmlDeviceGetMemoryInfo(gpu(0)).used") == 3 * GIB
    assert read("n.nvmlDeviceGetMemoryInfo(gpu(0), n.nvmlMemory_v2).free") == 77 * GIB
    user.stop()
    assert read.processes(0) == []


@pytest.mark.parametrize("kind", ["compute", "graphics", "mps"])
def test_each_kind_has_its_list(fake_nvml: FakeNvml, read: Reader, kind: str) -> None:
    user = fake_nvml.use(0, kind=kind)
    lists = {"compute": "Compute", "graphics": "Graphics", "mps": "MPSCompute"}
    assert {name: read.pids(0, name) for name in lists.values()} == {
        name: [user.pid] if name == lists[kind] else [] for name in lists.values()
    }
    detail = "[p.pid for p in n.nvmlDeviceGetRunningProcessDetailList(gpu(0), 0x01000018, {mode})]"
    assert read(detail.format(mode=list(lists).index(kind))) == [user.pid]
    assert read(detail.format(mode=3)) == [user.pid]
    assert read.code(detail.format(mode=4)) == INVALID_ARGUMENT


def test_a_killed_process_is_gone_and_its_memory_free(fake_nvml: FakeNvml, read: Reader) -> None:
    users = [fake_nvml.use(0), fake_nvml.use(0)]
    assert sorted(read.pids(0)) == sorted(user.pid for user in users)
    users[0].kill()
    until(lambda: read.pids(0) == [users[1].pid], "the killed process leaves the list")
    assert read("n.nvmlDeviceGetMemoryInfo(gpu(0)).used") == GIB


def test_a_user_holds_its_device_node(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    node = tmp_path / "nvidia0"
    try:
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(7, 0))
        node.open().close()
    except OSError as error:
        pytest.skip(f"no device node that opens: {error}")
    user = fake_nvml.use(0, device=str(node))
    held = [link.readlink() for link in Path(f"/proc/{user.pid}/fd").iterdir()]
    assert held.count(node) == 1


def test_a_user_without_its_device_node_is_none(fake_nvml: FakeNvml, read: Reader) -> None:
    with pytest.raises(AssertionError, match="expected ready"):
        fake_nvml.use(0, device="/dev/nvidia-none")
    assert read.pids(0) == []


def test_more_memory_than_there_is_ends_a_user(fake_nvml: FakeNvml) -> None:
    fake_nvml.use(0, 79 * GIB)
    with pytest.raises(AssertionError, match="expected ready"):
        fake_nvml.use(0, 2 * GIB)


def test_versions_of_structures_are_checked(read: Reader) -> None:
    assert read.code("n.nvmlDeviceGetMemoryInfo(gpu(0), 0x01000028)") == VERSION_MISMATCH
    assert read.code("n.nvmlDeviceGetRunningProcessDetailList(gpu(0), 0x01000020, 0)") == INVALID_ARGUMENT
    wrong = (
        "n.nvmlLib.nvmlDeviceGetProcessesUtilizationInfo(gpu(0), ctypes.byref(n.c_nvmlProcessesUtilizationInfo_v1_t()))"
    )
    assert read(wrong) == VERSION_MISMATCH


@pytest.mark.parametrize(("version", "size"), [("", 16), ("_v2", 24), ("_v3", 24)])
def test_lists_are_sized_in_two_calls(fake_nvml: FakeNvml, read: Reader, version: str, size: int) -> None:
    users = [fake_nvml.use(0, GIB + number) for number in range(3)]
    call = f"n.nvmlLib.nvmlDeviceGetComputeRunningProcesses{version}(gpu(0), ctypes.byref(count), {{room}})"
    counted = f"[({call}, count.value) for count in (ctypes.c_uint({{start}}),)][0]"
    assert read(counted.format(start=0, room=None)) == [INSUFFICIENT_SIZE, 3]
    assert read(counted.format(start=2, room=f"(ctypes.c_char * {size * 2})()")) == [INSUFFICIENT_SIZE, 3]
    assert read(counted.format(start=3, room=None)) == [INVALID_ARGUMENT, 3]
    words = f"[list(r) for count in (ctypes.c_uint(9),) for r in ((ctypes.c_uint * {size * 9 // 4})(),)"
    words += f" if not {call.format(room='r')}][0]"
    row = read(words)
    assert {row[i * size // 4] for i in range(3)} == {user.pid for user in users}


def test_power_and_energy_follow_what_is_done(fake_nvml: FakeNvml, read: Reader) -> None:
    assert read("n.nvmlDeviceGetPowerUsage(gpu(0))") == 70_000
    user = fake_nvml.use(0, utilisation=100)
    assert read("n.nvmlDeviceGetPowerUsage(gpu(0))") == 700_000
    assert read("n.nvmlDeviceGetUtilizationRates(gpu(0)).gpu") == 100
    energies = [energy(read, 0) for _ in range(50)]
    assert energies == sorted(energies)
    user.work(0)
    assert read("n.nvmlDeviceGetPowerUsage(gpu(0))") == 70_000
    until(lambda: energy(read, 0) > energies[-1], "an idle GPU uses energy too")
    assert energy(read, 0) > energy(read, 1)


def test_utilisation_is_sampled_after_a_timestamp(fake_nvml: FakeNvml, read: Reader) -> None:
    assert read.code(UTILISATION.format(since=0)) == NOT_FOUND
    user = fake_nvml.use(0, utilisation=30)
    until(lambda: not read.code(UTILISATION.format(since=0)), "a first sample")
    [(pid, newest, utilisation)] = read(UTILISATION.format(since=0))
    assert (pid, utilisation) == (user.pid, 30)
    until(lambda: not read.code(UTILISATION.format(since=newest)), "a sample after that")
    assert read(UTILISATION.format(since=newest))[0][1] > newest
    assert read.code(UTILISATION.format(since=newest * 2)) == NOT_FOUND
    info = "[(s.pid, s.smUtil) for s in n.nvmlDeviceGetProcessesUtilizationInfo(gpu(0), 0)]"
    assert read(info) == [[user.pid, 30]]


def test_a_dead_process_stays_in_the_samples(fake_nvml: FakeNvml, read: Reader) -> None:
    user = fake_nvml.use(0)
    user.kill()
    until(lambda: not read.code(UTILISATION.format(since=0)), "the sample in which it lived")
    assert read(UTILISATION.format(since=0))[0][0] == user.pid


@needs_root
def test_accounting_is_off_until_it_is_switched_on(fake_nvml: FakeNvml, read: Reader) -> None:
    assert read("n.nvmlDeviceGetAccountingMode(gpu(0))") == 0
    assert read.code(ACCOUNTED) == NOT_SUPPORTED
    before = fake_nvml.use(0)
    read("n.nvmlDeviceSetAccountingMode(gpu(0), 1)")
    user = fake_nvml.use(0, 2 * GIB)
    assert read(ACCOUNTED) == [user.pid]
    assert read.code(f"n.nvmlDeviceGetAccountingStats(gpu(0), {before.pid})") == NOT_FOUND
    assert (stats(read, user.pid)["isRunning"], stats(read, user.pid)["time"]) == (1, 0)
    assert read("n.nvmlDeviceGetAccountingMode(gpu(1))") == 0


@needs_root
def test_accounting_keeps_the_dead(fake_nvml: FakeNvml, read: Reader) -> None:
    read("n.nvmlDeviceSetAccountingMode(gpu(0), 1)")
    stopped, killed = fake_nvml.use(0, 2 * GIB), fake_nvml.use(0, 3 * GIB)
    stopped.hold(GIB)
    stopped.stop()
    killed.kill()
    until(lambda: not stats(read, killed.pid)["isRunning"], "the killed process counts as ended")
    assert sorted(read(ACCOUNTED)) == sorted([stopped.pid, killed.pid])
    assert stats(read, stopped.pid)["maxMemoryUsage"] == 2 * GIB
    assert stats(read, killed.pid)["maxMemoryUsage"] == 3 * GIB
    read("n.nvmlDeviceClearAccountingPids(gpu(0))")
    assert read(ACCOUNTED) == []


@needs_root
def test_the_ring_of_the_dead_forgets_the_oldest(fake_nvml: FakeNvml, read: Reader) -> None:
    read("n.nvmlDeviceSetAccountingMode(gpu(0), 1)")
    pids = []
    for _ in range(130):
        user = fake_nvml.use(0)
        user.stop()
        user.close()
        pids.append(user.pid)
    assert sorted(read(ACCOUNTED)) == sorted(pids[2:])


def test_a_lost_gpu_is_lost_and_its_neighbour_is_not(fake_nvml: FakeNvml, read: Reader) -> None:
    read("known.append(gpu(0)) if 'known' in globals() else globals().update(known=[gpu(0)])")
    fake_nvml.turn(LOST, 0)
    assert read.code("n.nvmlDeviceGetPowerUsage(known[0])") == GPU_IS_LOST
    assert read.code("gpu(0)") == GPU_IS_LOST
    assert read("n.nvmlDeviceGetCount()") == 2
    assert read("n.nvmlDeviceGetPowerUsage(gpu(1))") == 70_000
    fake_nvml.turn(LOST, 0, on=False)
    assert read("n.nvmlDeviceGetPowerUsage(gpu(0))") == 70_000


def test_an_old_driver_lacks_functions(new_fake_nvml: FakeNvmlMaker) -> None:
    old = new_fake_nvml(missing=("nvmlDeviceGetComputeRunningProcesses_v3",))
    user = old.use(0)
    with Reader(old) as read:
        assert read.code("n.nvmlDeviceGetComputeRunningProcesses_v3(gpu(0))") == FUNCTION_NOT_FOUND
        assert read("[p.pid for p in n.nvmlDeviceGetComputeRunningProcesses_v2(gpu(0))]") == [user.pid]


def test_bogus_rows_come_with_the_true_ones(fake_nvml: FakeNvml, read: Reader) -> None:
    user = fake_nvml.use(0)
    fake_nvml.turn(BOGUS, 0)
    assert user.pid in read.pids(0)
    assert len(read.pids(0)) == 3
    assert max(utilisation for _, _, utilisation in read(UTILISATION.format(since=0))) > 100


def test_scrambled_pids_are_of_nobody(fake_nvml: FakeNvml, read: Reader) -> None:
    user = fake_nvml.use(0)
    fake_nvml.turn(SCRAMBLED, 0)
    [pid] = read.pids(0)
    assert pid != user.pid
    assert not Path(f"/proc/{pid}").exists()


def test_unknown_memory_is_none(fake_nvml: FakeNvml, read: Reader) -> None:
    user = fake_nvml.use(0)
    fake_nvml.turn(MEMORYLESS, 0)
    assert read.processes(0) == [(user.pid, None)]


def test_an_active_process_can_be_missing_from_the_list(fake_nvml: FakeNvml, read: Reader) -> None:
    shown, hidden = fake_nvml.use(0), fake_nvml.use(0)
    fake_nvml.omit(0, hidden.pid)
    assert read.pids(0) == [shown.pid]
    both = {shown.pid, hidden.pid}
    until(lambda: not read.code(UTILISATION.format(since=0)), "a sample")
    until(lambda: {pid for pid, _, _ in read(UTILISATION.format(since=0))} == both, "a sample of both")


def test_a_mig_gpu_has_no_utilisation_and_no_accounting(fake_nvml: FakeNvml, read: Reader) -> None:
    user = fake_nvml.use(0)
    fake_nvml.turn(MIG, 0)
    assert read("n.nvmlDeviceGetMigMode(gpu(0))") == [1, 1]
    assert read.code(UTILISATION.format(since=0)) == NOT_SUPPORTED
    assert read.code("n.nvmlDeviceSetAccountingMode(gpu(0), 1)") in (NOT_SUPPORTED, NO_PERMISSION)
    assert read("[(p.pid, p.gpuInstanceId) for p in n.nvmlDeviceGetComputeRunningProcesses(gpu(0))]") == [[user.pid, 1]]


@needs_root
def test_a_reloaded_driver_knows_nothing_of_before(fake_nvml: FakeNvml, read: Reader) -> None:
    read("n.nvmlDeviceSetAccountingMode(gpu(0), 1)")
    fake_nvml.use(0, utilisation=100)
    until(lambda: not read.code(UTILISATION.format(since=0)), "a sample")
    energy = read("n.nvmlDeviceGetTotalEnergyConsumption(gpu(0))")
    fake_nvml.reload_driver("590.1")
    assert read("n.nvmlSystemGetDriverVersion()") == "590.1"
    assert read("n.nvmlDeviceGetAccountingMode(gpu(0))") == 0
    assert read.code(UTILISATION.format(since=0)) == NOT_FOUND
    assert read("n.nvmlDeviceGetTotalEnergyConsumption(gpu(0))") < energy
    assert read.processes(0) == []


def test_any_function_can_fail(fake_nvml: FakeNvml, read: Reader) -> None:
    fake_nvml.fail("nvmlDeviceGetPowerUsage", 999)
    assert read.code("n.nvmlDeviceGetPowerUsage(gpu(0))") == 999
    fake_nvml.fail("nvmlDeviceGetPowerUsage", 999, on=False)
    assert read.code("n.nvmlDeviceGetPowerUsage(gpu(0))") == 0


def test_a_hanging_function_holds_up_nobody_else(fake_nvml: FakeNvml, read: Reader) -> None:
    fake_nvml.hang("nvmlDeviceGetPowerUsage")
    with Reader(fake_nvml) as stuck:
        assert stuck.process.stdin is not None
        assert stuck.process.stdout is not None
        stuck.process.stdin.write("n.nvmlDeviceGetPowerUsage(gpu(0))\n")
        stuck.process.stdin.flush()
        user = fake_nvml.use(0)
        until(lambda: read.pids(0) == [user.pid], "others read on")
        fake_nvml.hang("nvmlDeviceGetPowerUsage", on=False)
        assert stuck.process.stdout.readline().startswith('{"value"')


def test_without_a_machine_there_is_no_driver(fake_nvml: FakeNvml) -> None:
    (fake_nvml.root / "machine").unlink()
    with Reader(fake_nvml) as read, pytest.raises(ValueError, match="Expecting value"):
        read("n.nvmlDeviceGetCount()")


def test_a_process_in_a_container_is_seen_by_its_pid_outside(
    fake_nvml: FakeNvml, read: Reader, own_pids: tuple[str, ...]
) -> None:
    user = fake_nvml.use(0, through=own_pids)
    assert read.pids(0) == [user.pid]
    assert user.pid != user.process.pid
    user.kill()
    until(lambda: read.pids(0) == [], "the killed process leaves the list")


def test_from_inside_a_container_foreign_processes_are_not_seen(
    fake_nvml: FakeNvml, read: Reader, own_pids: tuple[str, ...]
) -> None:
    user = fake_nvml.use(0)
    with Reader(fake_nvml, through=own_pids) as inside:
        assert inside.pids(0) == []
        assert inside("n.nvmlDeviceGetMemoryInfo(gpu(0)).used") == GIB
    assert read.pids(0) == [user.pid]


@needs_root
def test_a_dead_process_of_a_container_is_accounted_by_its_pid_outside(
    fake_nvml: FakeNvml, read: Reader, own_pids: tuple[str, ...]
) -> None:
    if str(Path("/proc/self/ns/pid").readlink()) != "pid:[4026531836]":
        pytest.skip("this machine is itself in a pid namespace")
    read("n.nvmlDeviceSetAccountingMode(gpu(0), 1)")
    user = fake_nvml.use(0, through=own_pids)
    assert read(ACCOUNTED) == [user.pid]
    user.kill()
    until(lambda: not stats(read, user.pid)["isRunning"], "it counts as ended")
    assert read(ACCOUNTED) == [user.pid]
