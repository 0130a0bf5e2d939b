"""Processes that outlive their starter: found from the first instant on, or not there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provision.errors import MachineCannot
from provision.lab import detached
from tests.fakes.wait import alive, until

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def groups(tmp_path: Path) -> tuple[Path, ...]:
    return (tmp_path / "first.procs", tmp_path / "second.procs")


def test_it_enters_its_groups_and_works_with_nothing_of_its_starter(tmp_path: Path, groups: tuple[Path, ...]) -> None:
    out = tmp_path / "out.json"
    detached.start("tests.fakes.errand", {"out": str(out)}, procs_files=groups, log=tmp_path / "log")
    until(out.exists, "the errand is done")
    said = json.loads(out.read_text())
    assert [file.read_text() for file in groups] == ["0", "0"]
    assert said["session"] != os.getsid(0)
    assert said["streams"] == ["/dev/null", str(tmp_path / "log"), str(tmp_path / "log")]
    assert sorted(said["environment"]) == ["LANG", "PATH", "PYTHONPATH"]
    until(lambda: not alive(said["pid"]), "the errand has ended")


def test_a_process_that_cannot_enter_its_group_is_an_error_with_its_log(tmp_path: Path) -> None:
    nowhere = (tmp_path / "no" / "such" / "group",)
    with pytest.raises(MachineCannot, match="enter its control group") as error:
        detached.start("tests.fakes.errand", {"out": ""}, procs_files=nowhere, log=tmp_path / "log")
    assert str(tmp_path / "log") in error.value.next_step


def test_whose_starter_dies_before_the_word_ends_by_itself(tmp_path: Path, groups: tuple[Path, ...]) -> None:
    out = tmp_path / "out.json"
    order = {"module": "tests.fakes.errand", "groups": [str(path) for path in groups], "task": {"out": str(out)}}
    with subprocess.Popen(
        [sys.executable, "-m", "provision.lab.detached"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == detached.JOINED
        process.stdin.close()  # as the kernel does for a starter that was killed
        assert process.stdout.read() == b""  # the last holder of the pipe has ended
    assert not out.exists()
    assert signal.SIGKILL not in (process.returncode,)
