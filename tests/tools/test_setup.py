"""The set-up scripts: what they say when they cannot go on, run as they are with other programs before them on PATH."""

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
CANNOT = 8
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
CAPTURED = {"capture_output": True, "text": True, "timeout": 60, "check": False}


def bash(script: str, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    lines = f"set -eu; source {TOOLS}/lib.sh; SETUP={tmp_path}; {script}"
    return subprocess.run(
        ["bash", "-c", lines], capture_output=True, text=True, timeout=60, env=os.environ | environ, check=False
    )


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)", "held by process 7 (apt)"),
        ("write /x: no such luck: No space left on device", "no space left on device"),
        ("Temporary failure resolving 'mirror.example'", "the network does not answer"),
        ("dial tcp: lookup proxy.example: no such host", "the network does not answer"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "differs from what is pinned"),
        ("verifying module: checksum mismatch", "differs from what is pinned"),
        ("some other failure", "some other failure"),
    ],
)
def test_a_failure_is_one_message_with_its_reason(tmp_path: Path, output: str, reason: str) -> None:
    done = bash(f"logged step 'A step' 10 sh -c 'echo \"$0\"; exit 3' \"{output}\"", tmp_path)
    assert done.returncode == CANNOT
    assert done.stderr.startswith("setup: A step: ")
    assert reason in done.stderr.splitlines()[0]
    assert done.stdout == ""


def test_an_earlier_failure_is_not_blamed_again(tmp_path: Path) -> None:
    (tmp_path / "step.log").write_text("No space left on device\n")
    done = bash("logged step 'A step' 10 sh -c 'echo something else; exit 3'", tmp_path)
    assert "something else" in done.stderr
    assert "space" not in done.stderr


def test_a_step_that_does_not_end_is_ended(tmp_path: Path) -> None:
    done = bash("logged step 'A step' 1 sleep 50", tmp_path)
    assert done.returncode == CANNOT
    assert "not done after 1 s" in done.stderr


def test_a_full_disk_is_said_before_it_is_filled(tmp_path: Path) -> None:
    done = bash(f"need_disk 'A step' 999999999 {tmp_path}/not/yet", tmp_path)
    assert done.returncode == CANNOT
    assert "999999999 MiB needed below" in done.stderr


def test_two_set_ups_do_not_work_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with subprocess.Popen(["flock", str(lock), "sh", "-c", "echo held; read _"], **PIPES) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        done = bash(f"locked {lock} 1", tmp_path)
        holder.communicate("\n", timeout=10)
    assert done.returncode == CANNOT
    assert "another set-up holds" in done.stdout
    assert "still holds" in done.stderr
    assert bash(f"locked {lock} 1", tmp_path).returncode == 0


def test_a_digest_follows_the_content_of_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    first = bash(f"digest word {file}", tmp_path).stdout
    assert bash(f"digest word {file}", tmp_path).stdout == first
    file.write_text("two")
    assert bash(f"digest word {file}", tmp_path).stdout != first


@pytest.mark.parametrize(("user", "reason"), [("1000", "not root, and missing: absent"), ("0", "no apt-get")])
def test_missing_packages_without_the_means(tmp_path: Path, user: str, reason: str) -> None:
    programs = {
        "dpkg-query": 'printf "installed present\\n"',
        "id": f"echo {user}",
        **({"apt-get": "exit 1"} if user == "1000" else {}),
    }
    done = subprocess.run(
        ["bash", str(TOOLS / "apt.sh"), "present", "absent"],
        **CAPTURED,
        env={"PATH": str(directory_of(programs, tmp_path)), "HOME": str(tmp_path)},
    )
    assert done.returncode == CANNOT
    assert reason in done.stderr


def test_nothing_is_said_or_done_when_nothing_is_missing(tmp_path: Path) -> None:
    path = directory_of({"dpkg-query": 'printf "installed present\\n"'}, tmp_path)
    done = subprocess.run(["bash", str(TOOLS / "apt.sh"), "present"], **CAPTURED, env={"PATH": str(path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_pulumi_on_path_of_the_pinned_version_is_taken(tmp_path: Path) -> None:
    path = directory_of({"pulumi": f"echo v{pinned()}"}, tmp_path)
    environ = os.environ | {"PATH": f"{path}:{os.environ['PATH']}", "TIMELOCK_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([TOOLS / "pulumi.sh"], **CAPTURED, env=environ)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cache" / "tools" / f"pulumi-{pinned()}" / "pulumi").resolve() == path / "pulumi"
    again = subprocess.run([TOOLS / "pulumi.sh"], **CAPTURED, env=environ)
    assert (again.returncode, again.stdout) == (0, "")


def test_without_pulumi_both_ways_of_getting_it_are_explained(tmp_path: Path) -> None:
    """No Go of its own and no network: pip and the vendor's installer meet a proxy that is not there."""
    path = directory_of({"pulumi": "echo v0.0.1", "go": "exit 1"}, tmp_path)
    environ = {
        **{"PATH": f"{path}:/usr/bin:/bin", "HOME": str(tmp_path), "TIMELOCK_CACHE": str(tmp_path / "cache")},
        **{"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "PULUMI": "download"},
    }
    done = subprocess.run([TOOLS / "pulumi.sh"], **CAPTURED, env=environ)
    assert done.returncode == CANNOT
    assert f"neither a build nor the vendor's installer gave v{pinned()}" in done.stderr
    assert "it was not tried (PULUMI=download)" in done.stderr
    assert "onnection refused" in done.stderr


def pinned() -> str:
    lock = (TOOLS.parent / "requirements.lock").read_text()
    return next(line.split("==")[1].split()[0] for line in lock.splitlines() if line.startswith("pulumi=="))


def directory_of(programs: dict[str, str], tmp_path: Path) -> Path:
    """A directory with shell scripts of these names, and the few real programs that the scripts need."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("bash", "dirname", "sed", "sort", "comm", "mkdir", "flock"):
        (directory / name).symlink_to(f"/usr/bin/{name}")
    for name, body in programs.items():
        (directory / name).write_text(f"#!/bin/bash\n{body}\n")
        (directory / name).chmod(0o755)
    return directory
