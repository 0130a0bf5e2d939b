"""What cannot be done is refused: one exit code, one message that says what was expected and found, and no traceback.

Here is what needs no host; `test_cli_refusals_hosts.py` has the rest.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.booking.lock import held
from provision.home import Home
from tests.fakes.cli import COMMAND, Cli

REQUEST = """\
name: demo
gpu: {model: H100, count: 2}
window: {start: now, duration: 2h}
image: timelock/ray:2.60-py311
"""
INVENTORY = """\
all:
  hosts:
    one:
      ansible_host: 192.0.2.1
      ansible_ssh_private_key_file: key
      timelock_supplier: acme
      timelock_site: fra1
      timelock_region: eu
      timelock_price_per_gpu_hour: 2 EUR
      timelock_access_rtt: 0.1ms
      timelock_cpus: 8
      timelock_memory: 64GB
      timelock_gpus: [{uuid: GPU-1, index: 0, model: H100, memory: 80GB, device: /dev/nvidia0}]
  vars: {timelock_registry: "127.0.0.1:1"}
"""
BACKWARDS = "{start: 2040-01-01T12:00:00Z, end: 2040-01-01T11:00:00Z}"


@pytest.fixture
def timelock(home_here: Home) -> Cli:
    return Cli(home=home_here)


def book(timelock: Cli, request: str = REQUEST, inventory: str = INVENTORY, *, code: int) -> tuple[list[str], str]:
    files = {"request.yaml": request, "inventory.yaml": inventory, "key": "no key"}
    for name, content in files.items():
        (timelock.home.root / name).write_text(content)
    ran = timelock("book", "request.yaml", "--inventory", "inventory.yaml", "--yes", "--no-serve", code=code)
    return ran.problems, ran.advice


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("image:", "colour: red\nimage:", "request.yaml:4: colour: "),
        ("count: 2", "count: 2, memory: 80 potatoes", "request.yaml:2: gpu.memory: expected "),
        ("duration: 2h", "duration: 2 moons", "request.yaml:3: window.duration: expected "),
        ("{start: now, duration: 2h}", BACKWARDS, "request.yaml:3: window"),
        ("count: 2", "count: 0", "request.yaml:2: gpu.count: expected "),
        ("count: 2", "count: two", "request.yaml:2: gpu.count: expected "),
        ("name: demo", "name: ../demo", "request.yaml:1: name: expected "),
        ("name: demo\n", "", "request.yaml:1: name: expected "),
        ("image:", "egress: ['10.0.0.0/8:443']\nimage:", "request.yaml:4: egress: expected none"),
        (REQUEST, "", "request.yaml"),
        (REQUEST, "{", "request.yaml"),
    ],
)
def test_a_request_that_is_wrong(timelock: Cli, old: str, new: str, problem: str) -> None:
    (found,), _ = book(timelock, REQUEST.replace(old, new), code=2)
    assert found.startswith(problem)


@pytest.mark.parametrize("command", ["match", "book"])
def test_a_past_window_is_refused_before_the_inventory_is_read(timelock: Cli, command: str) -> None:
    past = "{start: 2020-01-01T00:00:00Z, end: 2020-01-01T01:00:00Z}"
    (timelock.home.root / "request.yaml").write_text(REQUEST.replace("{start: now, duration: 2h}", past))
    (timelock.home.root / "inventory.yaml").write_text("no inventory")
    ran = timelock(command, "request.yaml", "--inventory", "inventory.yaml", code=2)
    assert [problem.split(": ")[1] for problem in ran.problems] == ["window.start", "window.end"]


def test_a_pipe_is_no_request(timelock: Cli) -> None:
    os.mkfifo(timelock.home.root / "pipe")
    assert "a pipe" in timelock("match", "pipe", "--inventory", "inventory.yaml", code=2).problems[0]


@pytest.mark.parametrize("odd", ["%", "?", "#"])
def test_a_state_directory_that_no_url_can_name(home_here: Home, odd: str) -> None:
    ran = Cli(home=home_here, environment={"TIMELOCK_HOME": f"/tmp/a{odd}b"})("list", code=8)
    assert ran.problems[0].startswith("TIMELOCK_HOME: expected a path")


def test_a_request_with_several_faults_names_them_all(timelock: Cli) -> None:
    wrong = REQUEST.replace("count: 2", "count: 0").replace("2h", "2 moons").replace("image:", "colour: red\nimage:")
    problems, _ = book(timelock, wrong, code=2)
    assert [problem.split(":")[2].strip() for problem in problems] == ["gpu.count", "window.duration", "colour"]


@pytest.mark.parametrize("words", [("book", "nothing.yaml"), ("match", "/"), ("book",), ("fly",), ("list", "--wings")])
def test_words_that_mean_nothing(timelock: Cli, words: tuple[str, ...]) -> None:
    ran = timelock(*words, code=2)
    assert ran.err.strip()
    assert ran.out == ""


def test_an_inventory_that_is_wrong(timelock: Cli) -> None:
    problems, _ = book(timelock, inventory=INVENTORY.replace("2 EUR", "cheap").replace("64GB", "lots"), code=2)
    assert len(problems) == 2
    assert all("one" in problem for problem in problems)


def test_no_inventory_and_no_lab(timelock: Cli) -> None:
    (timelock.home.root / "request.yaml").write_text(REQUEST)
    ran = timelock("book", "request.yaml", code=2)
    assert "timelock lab up" in ran.advice


def test_a_registry_that_is_down(timelock: Cli) -> None:
    (found,), advice = book(timelock, code=8)
    assert found.startswith("registry 127.0.0.1:1: expected an answer over HTTPS, found: ")
    assert "127.0.0.1:1" in advice


@pytest.mark.parametrize("command", ["status", "events", "logs", "drift", "resume", "release", "ssh"])
def test_a_booking_that_does_not_exist(timelock: Cli, command: str) -> None:
    (found,) = timelock(command, "nobody", code=2).problems
    assert "nobody" in found


@pytest.mark.parametrize("command", ["drift", "resume", "release"])
def test_a_booking_that_is_being_worked_on(timelock: Cli, command: str) -> None:
    with held(timelock.home.booking("demo").lock, operation="timelock book demo"):
        words = (command, "demo", "--yes") if command == "release" else (command, "demo")
        found = timelock(*words, code=None)
    if command == "release":  # asks the ledger first, which knows no such booking
        assert found.code == 2
        return
    assert found.code == 6
    assert found.problems[0].startswith(f"demo: held by `timelock book demo` (pid {os.getpid()}) since ")


def test_a_ledger_that_is_no_database(timelock: Cli) -> None:
    (timelock.home.root / "ledger.sqlite").write_text("not a database" * 100)
    ran = timelock("list", code=8)
    assert "ledger" in ran.problems[0]
    assert "backup" in ran.advice


def test_a_full_disk(full: Home) -> None:
    ran = Cli(home=full)("list", code=8)
    assert len(ran.problems) == 1
    assert "full" in ran.problems[0] or "space" in ran.problems[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
@pytest.mark.parametrize(
    ("words", "expected"), [(("lab", "up"), "expected root"), (("list",), "expected a directory we can write to")]
)
def test_a_user_who_may_not(timelock: Cli, words: tuple[str, ...], expected: str) -> None:
    timelock.home.root.chmod(0o700)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, "test", "-r", COMMAND], timeout=60, check=False).returncode:
        pytest.skip("this clone lies where nobody but its owner can read it")
    nobody += [str(COMMAND), *words]
    environment = {"TIMELOCK_HOME": str(timelock.home.root), "PATH": os.environ["PATH"]}
    ran = subprocess.run(nobody, capture_output=True, text=True, env=environment, cwd="/", timeout=60, check=False)
    assert ran.returncode == 8, ran.stderr
    assert expected in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Home]:
    """A home on a disk without room for a ledger."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    place = tmp_path / "full"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if subprocess.run(mount, timeout=60, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield Home.from_env({"TIMELOCK_HOME": str(place)})
    finally:
        subprocess.run(["umount", str(place)], timeout=60, check=True)
