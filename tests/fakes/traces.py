"""What a machine shows of a lab, looked for by other means than the lab's own."""

import subprocess
from pathlib import Path


def traces(place: Path, number: int) -> list[str]:
    """Name everything that belongs to the lab in `place` with this number; empty when it never was."""
    name, group = f"tl-lab{number}", f"timelock-lab{number}"
    links = _lines("ip", "-o", "link", "show")
    tables = _lines("nft", "list", "tables")
    found = [
        *(f"link: {line}" for line in links if f" {name}" in line),
        *(f"table: {line}" for line in tables if line.endswith(f"timelock_lab{number}")),
        *(f"namespace: {path}" for path in Path("/run/netns").glob(name)),
        *(f"group: {path}" for path in _groups() if path.name == group),
        *(f"loop device: {line}" for line in _lines("losetup", "--list", "--noheadings") if f" {place}/" in line),
        *(f"number: {path}" for path in Path("/run/timelock-labs").glob(str(number))),
        *(f"nspawn: {path}" for path in Path("/run/systemd").glob(f"nspawn/*/*{name}-*")),
        *_processes(place, group),
    ]
    return [*found, f"directory: {place}"] if place.exists() else found


def _processes(place: Path, group: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups, mounts = (process / "cgroup").read_text(), (process / "mountinfo").read_text()
        except OSError:
            continue
        if f"/{group}/" in groups or f"{place}/" in mounts or (f"{place}/" in command and "pytest" not in command):
            found.append(f"process {process.name}: {command}")
    return found


def _groups() -> list[Path]:
    return [*Path("/sys/fs/cgroup").glob("*/"), *Path("/sys/fs/cgroup").glob("*/*/")]


def _lines(*words: str) -> list[str]:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
