from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stacks.errors import EngineFailed, PassphraseWrong
from stacks.settings import StackPlace, find_pulumi


@pytest.fixture
def place(tmp_path: Path) -> StackPlace:
    (tmp_path / "passphrase").write_text("p")
    return StackPlace(
        work_dir=str(tmp_path / "work"),
        backend_url=f"file://{tmp_path}/state%20here",
        pulumi_home=str(tmp_path / "home"),
        passphrase_file=str(tmp_path / "passphrase"),
        mesh_secret_file=str(tmp_path / "mesh.secret"),
        journal=str(tmp_path / "journal.jsonl"),
        worker=("python", "-m", "worker"),
        pulumi="/opt/pulumi",
    )


def test_a_file_backend_has_no_sidecars_and_known_files(place: StackPlace, tmp_path: Path) -> None:
    assert place.login_url == f"file://{tmp_path}/state%20here?metadata=skip"
    assert place.backend_dir == tmp_path / "state here"
    assert place.state_file("demo") == tmp_path / "state here" / ".pulumi" / "stacks" / "timelock" / "demo.json"


@pytest.mark.parametrize("url", ["s3://bucket?region=eu", "postgres://db/timelock"])
def test_another_backend_is_left_as_it_is(place: StackPlace, url: str) -> None:
    remote = replace(place, backend_url=url)
    assert remote.login_url == url
    assert remote.backend_dir is remote.state_file("demo") is remote.lock_dir("demo") is None


def test_making_the_place_keeps_a_project_file_that_is_there(place: StackPlace, tmp_path: Path) -> None:
    place.make()
    project = tmp_path / "work" / "Pulumi.yaml"
    assert "name: timelock" in project.read_text()
    project.write_text("name: timelock\nruntime: python\n# by hand\n")
    place.make()
    assert "# by hand" in project.read_text()
    assert (tmp_path / "state here").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [None, "", "\n", "\xff\xfe"])
def test_no_passphrase_is_told(place: StackPlace, tmp_path: Path, content: str | None) -> None:
    (tmp_path / "passphrase").unlink()
    if content is not None:
        (tmp_path / "passphrase").write_text(content)
    with pytest.raises(PassphraseWrong, match="expected the passphrase"):
        place.make()


def test_the_environment_is_ours_not_the_users(place: StackPlace) -> None:
    found = place.environment(
        {"PULUMI_ACCESS_TOKEN": "t", "PULUMI_CONFIG_PASSPHRASE": "x", "PATH": "/bin", "AWS_A": "b"}
    )
    assert not {"PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE"} & found.keys()
    assert found["AWS_A"] == "b"
    assert found["PULUMI_CONFIG_PASSPHRASE_FILE"] == place.passphrase_file
    assert json.loads(found["TIMELOCK_WORKER"]) == ["python", "-m", "worker"]
    assert found["PATH"].endswith(":/bin")


def cli(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_cli_is_the_named_else_the_built_else_the_first_on_path(tmp_path: Path) -> None:
    named, on_path = cli(tmp_path / "named"), cli(tmp_path / "bin" / "pulumi")
    built = cli(tmp_path / "tools" / "pulumi-3.259.0" / "pulumi")
    environ = {"TIMELOCK_PULUMI": str(named), "PATH": str(on_path.parent)}
    assert find_pulumi(tmp_path / "tools", environ) == named
    del environ["TIMELOCK_PULUMI"]
    assert find_pulumi(tmp_path / "tools", environ) == built
    assert find_pulumi(tmp_path / "none", environ) == on_path
    with pytest.raises(EngineFailed, match=r"expected the Pulumi CLI 3\.259\.0"):
        find_pulumi(tmp_path / "none", {"PATH": ""})
