"""From inside a lab host, the machine is out of reach; so are other hosts' devices, and the internet."""

import datetime
import errno
import platform
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from provision.lab.kernel import ARCHITECTURES
from provision.lab.lab import Lab
from provision.lab.network import PROXY_PORT, REGISTRY_PORT

pytestmark = pytest.mark.lab
Run = Callable[..., str]
Inside = Callable[[str], str]


@pytest.fixture(scope="module")
def inside(lab: Lab, ssh: Run) -> Inside:
    """Run a command on the shared lab's first host and give both outputs, whatever the status."""
    host = lab.hosts[0].name
    return lambda command: ssh(lab, host, f"(\n{command}\n) 2>&1; true")


def settings() -> dict[str, str]:
    kept = ("kernel/kptr_restrict", "kernel/core_pattern", "kernel/panic", "vm/max_map_count", "fs/file-max")
    return {key: Path("/proc/sys", key).read_text() for key in kept}


def test_kernel_settings_are_the_hosts_own(inside: Inside) -> None:
    before = settings()
    wished = "kernel.kptr_restrict=2 kernel.core_pattern=/tmp/core vm.max_map_count=262144"
    said = inside(f"sysctl -w {wished}; sysctl -n vm.max_map_count")
    assert said.splitlines()[-1] == "262144"
    assert settings() == before


def test_settings_without_a_copy_are_refused(inside: Inside) -> None:
    before = Path("/proc/sys/kernel/hung_task_timeout_secs").read_text()
    said = inside("echo 7 > /proc/sys/kernel/hung_task_timeout_secs")
    assert "Read-only file system" in said
    assert Path("/proc/sys/kernel/hung_task_timeout_secs").read_text() == before


@pytest.mark.parametrize("node", ["c 1 1", "c 1 11", "c 10 237", "c 4 1", "c 5 3", "c 195 0", "b 7 0"])
def test_a_node_may_be_made_but_not_opened(inside: Callable[[str], str], node: str) -> None:
    assert "Operation not permitted" in inside(f"rm -f /root/node; mknod /root/node {node} && head -c 1 /root/node")


def test_the_machines_disk_cannot_be_read_or_mounted(inside: Inside) -> None:
    root = Path("/").stat().st_dev
    node = f"b {root >> 8 & 0xFFF} {root & 0xFF}"
    said = inside(f"rm -f /root/disk; mknod /root/disk {node}; head -c 1 /root/disk; mount /root/disk /mnt && echo in")
    assert "Operation not permitted" in said
    assert said.splitlines()[-1] != "in"


def test_other_gpus_than_its_own_are_shut(inside: Inside) -> None:
    assert inside("head -c 1 /dev/nvidia0 | wc -c; head -c 1 /dev/nvidia1 | wc -c") == "1\n1\n"
    assert "Operation not permitted" in inside("rm -f /root/gpu; mknod /root/gpu c 7 2; head -c 1 /root/gpu")


def test_a_gpu_can_be_held_by_several_processes_at_once(inside: Inside) -> None:
    held = inside("exec 3</dev/nvidia0 4<>/dev/nvidia0; ls -l /proc/self/fd | grep -c nvidia0; readlink /dev/char/7:0")
    assert held == "2\n../nvidia0\n"


def test_the_clock_cannot_be_set(inside: Inside) -> None:
    assert "Operation not permitted" in inside("date -s 2001-01-01")
    assert inside("date +%Y").strip() == str(datetime.datetime.now(datetime.UTC).year)


def calls(numbers: Sequence[int]) -> str:
    """A command that makes system calls with no arguments and prints their error numbers."""
    made = f"[(c.syscall(n, 0, 0, 0, 0, 0), ctypes.get_errno())[1] for n in {list(numbers)}]"
    return f"python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True); print({made})'"


def test_handles_swap_and_other_kernels_are_refused(inside: Inside) -> None:
    numbers = ARCHITECTURES[platform.machine()][2]
    assert inside(calls(numbers)).strip() == str([errno.EPERM] * len(numbers))


def test_kernel_keys_do_not_exist(inside: Inside) -> None:
    numbers = ARCHITECTURES[platform.machine()][1]
    assert inside(calls(numbers)).strip() == str([errno.ENOSYS] * len(numbers))
    assert inside("cat /proc/keys /proc/key-users") == ""


def test_what_the_machine_alone_may_do_no_process_of_a_host_is_able_to(inside: Inside) -> None:
    bounding = int(inside("grep CapBnd /proc/1/status").split()[1], 16)
    for name, bit in (("SYS_MODULE", 16), ("SYS_RAWIO", 17), ("SYS_TIME", 25), ("SYSLOG", 34)):
        assert not bounding >> bit & 1, name


def test_the_hypervisor_cannot_be_called(inside: Inside) -> None:
    assert "Address family not supported" in inside("python3 -c 'import socket; socket.socket(40, 1)'")


SCAN = """
import socket, sys, time
found, ports = [], range(1, 65536)
for first in range(0, len(ports), 4000):
    tries = []
    for port in ports[first:first + 4000]:
        tries.append((port, socket.socket()))
        tries[-1][1].setblocking(False)
        tries[-1][1].connect_ex((sys.argv[1], port))
    time.sleep(0.3)
    for port, one in tries:
        try:
            one.getpeername()
            found.append(port)
        except OSError:
            pass
        one.close()
print(found)
"""


def test_of_the_machine_only_registry_proxy_and_echo_answer(lab: Lab, inside: Inside) -> None:
    controller = lab.hosts[0].network.controller
    answering = inside(f"ulimit -n 8192; python3 - {controller} <<'END'\n{SCAN}END")
    assert answering.strip() == f"[{PROXY_PORT}, {REGISTRY_PORT}]"
    assert "1 received" in inside(f"ping -c 1 -W 2 {controller}")


def test_a_service_of_the_machine_is_refused_at_each_of_its_addresses(lab: Lab, inside: Inside) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        shown = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
        others = [address for address in shown if ":" not in address and not address.startswith("10.77.")]
        for address in (lab.hosts[0].network.controller, *others):
            assert "open" not in inside(f"timeout 1 bash -c '</dev/tcp/{address}/{port}' && echo open")


def test_nothing_is_forwarded_and_names_are_not_waited_for(inside: Inside) -> None:
    assert "open" not in inside("timeout 2 bash -c '</dev/tcp/1.1.1.1/443' && echo open")
    lookup = 'import socket; socket.gethostbyname("example.org")'
    assert "Temporary failure in name resolution" in inside(f"timeout 5 python3 -c '{lookup}'")


def test_packages_come_through_the_proxy_and_nothing_else_does(lab: Lab, inside: Inside) -> None:
    assert "Reading package lists" in inside("apt-get update")
    refused = inside(f"curl -sS -x http://{lab.hosts[0].network.controller}:3128 http://example.org/")
    assert "none of the machine's package sources" in refused


def test_files_of_the_machine_are_not_in_reach(inside: Inside) -> None:
    mounts = inside("cat /proc/self/mountinfo").splitlines()
    root = Path("/").stat().st_dev
    assert not [line for line in mounts if line.split()[2] == f"{root >> 8 & 0xFFF}:{root & 0xFF}"]
