"""The process that is a lab host's outside: its mounts, its disk, its network, and the container that boots in them.

All of it lives in namespaces and groups of this process's own, so that the end of the control group is the end of
everything. Started by `host` through `detached`; imports only what a quick start allows.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from provision.lab import kernel
from provision.lab.cgroups import remove_tree
from provision.lab.devices import HARMLESS, DeviceNumber, limit_devices

REBOOT = 133
COMMAND_LIMIT_SECONDS = 30
# The machine's clock, modules, ports, kernel log and policies are not a host's to change.
DROPPED = ("SYS_TIME", "SYS_MODULE", "SYS_RAWIO", "SYSLOG", "MAC_ADMIN", "MAC_OVERRIDE", "WAKE_ALARM", "BLOCK_SUSPEND")
NSPAWN_ENVIRONMENT = {"SYSTEMD_SECCOMP": "0", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
KEPT = (Path("/proc"), Path("/sys"), Path("/dev"))


def main(task: dict[str, Any]) -> None:
    """Mount, then boot again and again for as long as the host asks for a reboot; then end the whole group."""
    place, group = Path(task["place"]), Path(task["group"])
    try:
        _own_mounts(place, Path(task["image"]), task["fabric"])
        limit_devices(group, (*HARMLESS, *(DeviceNumber(major=major, minor=minor) for major, minor in task["gpus"])))
        kernel.forbid_what_no_host_needs(platform.machine())
        enter = _step_aside(group) if task["unified_only"] else None
        status = REBOOT
        while status == REBOOT:
            _own_network(task)
            _make_room(group)
            status = _boot(_nspawn(place, task), enter)
            _say(f"{task['name']}: container ended with status {status}" + (" (reboot)" if status == REBOOT else ""))
    except (OSError, subprocess.SubprocessError) as error:
        _say(f"{task['name']}: {error}")
    finally:
        # A container whose nspawn was killed lives on; nothing of it may.
        (group / "cgroup.kill").write_text("1")


def foreign_mounts(mountinfo: str, needed: Iterable[Path]) -> list[Path]:
    """Name the mounts a lab host has no use for, deepest first; kept, they would pin others' disks and networks."""
    points = [Path(_unescaped(line.split()[4])) for line in mountinfo.splitlines()]
    wanted = [path.resolve() for path in needed]
    return [point for point in reversed(points) if not _is_needed(point, wanted)]


def _is_needed(point: Path, wanted: Iterable[Path]) -> bool:
    return any(map(point.is_relative_to, KEPT)) or any(path.is_relative_to(point) for path in wanted)


def _own_mounts(place: Path, image: Path, fabric: str) -> None:
    """Enter a mount namespace that holds nothing of others, and mount the host's root and disk in it."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", Path("/"), flags=kernel.MS_REC | kernel.MS_PRIVATE)
    python = (Path(sys.executable), Path(os.__file__), Path(__file__))
    needed = (place, image, Path("/run/netns", fabric), Path("/usr/bin/systemd-nspawn"), Path("/run/systemd"), *python)
    for target in foreign_mounts(Path("/proc/self/mountinfo").read_text(), needed):
        kernel.detach(target)
    _hide_machine(image)
    _mount_root(place, image)
    device, descriptor = kernel.attach_loop(place / "disk.ext4")
    kernel.mount(device, place / "disk", "ext4", kernel.MS_NOATIME, "barrier=0")
    os.close(descriptor)
    (place / "disk" / "docker").mkdir(mode=0o711, exist_ok=True)


def _hide_machine(image: Path) -> None:
    """Put copies in memory where nspawn would otherwise hand files of the machine into the container."""
    run = Path("/run/systemd")
    run.mkdir(exist_ok=True)
    kernel.mount("tmpfs", run, "tmpfs", options="mode=755")
    copy = run / "os-release"
    copy.write_bytes((image / "usr/lib/os-release").read_bytes())
    kernel.mount(str(copy), Path("/etc/os-release").resolve(), flags=kernel.MS_BIND)


def _mount_root(place: Path, image: Path) -> None:
    # `volatile`: a host's files need not survive the machine's crash; the kernel's mark of that is ours to take off.
    mark = place / "work" / "work" / "incompat" / "volatile"
    with contextlib.suppress(FileNotFoundError):
        (mark / "dirty").unlink(missing_ok=True)
        mark.rmdir()
    layers = (
        f"lowerdir={_escaped(image)},upperdir={_escaped(place / 'upper')},workdir={_escaped(place / 'work')},volatile"
    )
    kernel.mount("overlay", place / "root", "overlay", options=layers)


def _own_network(task: dict[str, Any]) -> None:
    """Enter a fresh network namespace, as each boot of a machine has one, joined to the lab's bridge by a cable."""
    kernel.unshare(kernel.CLONE_NEWNET)
    fabric, port = task["fabric"], task["port"]
    old = ["ip", "-n", fabric, "link", "del", port]
    subprocess.run(old, check=False, capture_output=True, timeout=COMMAND_LIMIT_SECONDS)
    inside = (
        f"link add eth0 address {task['mac']} type veth peer name {port} netns {fabric}",
        "link set lo up",
        f"addr add {task['address']}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {task['gateway']}",
    )
    _ip(("-batch", "-"), inside)
    _ip(("-n", fabric, "-batch", "-"), (f"link set {port} master br0 up",))


def _ip(options: tuple[str, ...], lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    subprocess.run(["ip", *options], input=text, text=True, check=True, timeout=COMMAND_LIMIT_SECONDS)


def _step_aside(group: Path) -> Callable[[], None]:
    """Leave the group to the container, which hands controllers down and may then hold no process beside its groups.

    Returns what the container's process does to enter it.
    """
    aside = group / "launcher"
    aside.mkdir(exist_ok=True)
    (aside / "cgroup.procs").write_text("0")

    def enter() -> None:
        (group / "cgroup.procs").write_text("0")

    return enter


def _make_room(group: Path) -> None:
    """Remove the groups that the container's last boot left, and what it handed down, so that it can enter again."""
    for name in ("payload", "supervisor"):
        remove_tree(group / name)
    for controller in (group / "cgroup.subtree_control").read_text().split():
        (group / "cgroup.subtree_control").write_text(f"-{controller}")


def _boot(words: list[str], enter: Callable[[], None] | None) -> int:
    """Run the container until it ends. This process has one thread: what runs between fork and exec is safe."""
    environment = {**os.environ, **NSPAWN_ENVIRONMENT}
    return subprocess.call(words, env=environment, stdin=subprocess.DEVNULL, preexec_fn=enter)


def _nspawn(place: Path, task: dict[str, Any]) -> list[str]:
    disk = place / "disk"
    return [
        *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"),
        *(f"--directory={place / 'root'}", f"--machine={task['machine']}", f"--hostname={task['name']}"),
        "--network-namespace-path=/proc/self/ns/net",
        *("--capability=all", f"--drop-capability={','.join(f'CAP_{name}' for name in DROPPED)}"),
        *(f"--bind={_escaped(disk)}:/srv", f"--bind={_escaped(disk / 'docker')}:/var/lib/docker"),
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
    ]


def _escaped(path: Path) -> str:
    return "".join(f"\\{letter}" if letter in "\\:," else letter for letter in str(path))


def _unescaped(text: str) -> str:
    return text.encode().decode("unicode_escape") if "\\" in text else text


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
