"""Labs come up, change and go without a trace."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.errors import InvalidInput, Locked, MachineCannot
from provision.home import Home
from provision.lab import numbers
from provision.lab.lab import Lab
from provision.lab.lock import lab_lock
from provision.lab.state import read_state
from tests.conftest import LabMaker
from tests.fakes.traces import traces

Run = Callable[..., str]


def number_of(lab: Lab) -> int:
    state = read_state(lab.place / "state.json")
    assert state is not None
    return state.number


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "lab_1", "a" * 22, "../lab", "lab/b"])
def test_a_name_that_could_not_be_a_host_name_is_refused(home_here: Home, name: str) -> None:
    with pytest.raises(InvalidInput, match="expected a name such as `lab`"):
        Lab(home_here, name)


def test_no_lab_has_an_empty_status(home_here: Home) -> None:
    status = Lab(home_here, "none").status()
    assert (status.hosts, status.registry, status.proxy, status.ready) == ((), False, False, False)


@pytest.mark.lab
def test_a_lab_comes_up_whole_and_goes_without_a_trace(new_lab: LabMaker, ssh: Run) -> None:
    lab = new_lab()
    said: list[str] = []
    status = lab.up(hosts=2, gpus=1, progress=said.append)
    assert status.ready
    assert [host.gpus for host in status.hosts] == [1, 1]
    for host in lab.hosts:
        assert ssh(lab, host.name, "hostname") == f"{host.name}\n"
        assert f"{host.name}: up at {host.address}" in said
    assert lab.inventory_file.exists()
    number = number_of(lab)
    assert traces(lab.place, number)
    lab.down()
    assert traces(lab.place, number) == []
    lab.down()


@pytest.mark.lab
def test_up_again_changes_nothing_and_more_hosts_can_be_added(new_lab: LabMaker, ssh: Run) -> None:
    lab = new_lab()
    lab.up(hosts=1, gpus=1, image="minimal")
    (first,) = lab.hosts
    boot = ssh(lab, first.name, "cat /proc/sys/kernel/random/boot_id")
    before = lab.inventory_file.read_bytes()
    lab.up(hosts=1, gpus=1, image="minimal")
    assert lab.inventory_file.read_bytes() == before
    status = lab.up(hosts=2, gpus=2, image="minimal")
    assert [(host.state, host.gpus) for host in status.hosts] == [("up", 1), ("up", 2)]
    assert ssh(lab, first.name, "cat /proc/sys/kernel/random/boot_id") == boot
    assert len(lab.up(hosts=1, image="minimal").hosts) == 2


@pytest.mark.lab
def test_a_dead_host_is_started_again_with_its_files(new_lab: LabMaker, ssh: Run) -> None:
    lab = new_lab()
    lab.up(hosts=2, image="minimal")
    one, other = lab.hosts
    ssh(lab, one.name, "echo kept > /root/file; echo kept > /srv/file; sync")
    boot = ssh(lab, other.name, "cat /proc/sys/kernel/random/boot_id")
    key = one.public_key
    lab.kill_host(one.name)
    assert [host.state for host in lab.status().hosts] == ["down", "up"]
    assert not lab.status().ready
    lab.up(hosts=2, image="minimal")
    assert ssh(lab, one.name, "cat /root/file /srv/file") == "kept\nkept\n"
    assert one.public_key == key
    assert ssh(lab, other.name, "cat /proc/sys/kernel/random/boot_id") == boot
    lab.kill_host(one.name)
    lab.start_host(one.name)
    assert lab.status().ready
    with pytest.raises(InvalidInput, match="expected one of"):
        lab.kill_host("nobody")


@pytest.mark.lab
def test_two_labs_stand_side_by_side_and_cannot_reach_each_other(new_lab: LabMaker, ssh: Run) -> None:
    one, other = new_lab(), new_lab()
    for lab in (one, other):
        lab.up(hosts=1, image="minimal")
    assert one.status().subnet != other.status().subnet
    (here,), (there,) = one.hosts, other.hosts
    ssh(one, here.name, f"! ping -c 1 -W 1 {there.address} && ! ping -c 1 -W 1 {there.network.controller}")
    ssh(one, here.name, f"! timeout 2 bash -c '</dev/tcp/{there.address}/22'")
    one.down()
    assert other.status().ready


@pytest.mark.lab
def test_one_operation_at_a_time(new_lab: LabMaker) -> None:
    lab = new_lab()
    with lab_lock(lab.place, "lab up"):
        for operation in (lab.up, lab.down):
            with pytest.raises(Locked, match="held by `lab up`"):
                operation()


@pytest.mark.lab
def test_a_damaged_state_stops_up_but_not_down(new_lab: LabMaker) -> None:
    lab = new_lab()
    lab.up(hosts=1, image="minimal")
    number = number_of(lab)
    (lab.place / "state.json").write_text('{"version": 1, "num')
    with pytest.raises(MachineCannot, match="found it damaged"):
        lab.up(hosts=1, image="minimal")
    lab.down()
    assert traces(lab.place, number) == []


@pytest.mark.lab
def test_a_number_whose_file_was_lost_is_cleared_from_the_state(new_lab: LabMaker) -> None:
    lab = new_lab()
    lab.up(hosts=1, image="minimal")
    number = number_of(lab)
    (numbers.PLACE / str(number)).unlink()
    lab.down()
    assert traces(lab.place, number) == []


@pytest.mark.lab
def test_a_directory_that_was_deleted_under_a_lab_is_cleared_by_the_next_up(new_lab: LabMaker) -> None:
    lost, lab = new_lab(), new_lab()
    lost.up(hosts=1, image="minimal")
    number = number_of(lost)
    subprocess.run(["rm", "-rf", str(lost.place)], check=True)
    lab.up(hosts=1, image="minimal")
    if number_of(lab) != number:  # someone else's lab may have taken the free number meanwhile
        assert traces(lost.place, number) == []
    lab.down()


@pytest.mark.lab
def test_no_process_of_a_lab_holds_anything_of_the_command_that_started_it(new_lab: LabMaker) -> None:
    lab = new_lab()
    mine = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()} - {"/dev/null"}
    lab.up(hosts=1, image="minimal")
    group = f"/timelock-lab{number_of(lab)}/"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if group not in (process / "cgroup").read_text():
                continue
            held = {str(path.readlink()) for path in (process / "fd").iterdir()}
        except OSError:
            continue
        assert not held & mine
