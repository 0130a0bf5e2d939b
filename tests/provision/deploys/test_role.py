"""Parameters at the door, and what holds for the items of every role."""

import shlex
import subprocess

import pytest

from provision.deploys.errors import StepFailed
from provision.deploys.role import parse
from tests.provision.deploys.roles import ROLES


@pytest.mark.parametrize("name", ROLES)
def test_labels_are_unique_and_one_line(name: str) -> None:
    labels = [item.label for item in parse(name, ROLES[name]).items()]
    assert len(labels) == len(set(labels))
    assert all(label and "\n" not in label for label in labels)


@pytest.mark.parametrize("name", ROLES)
def test_on_an_empty_host_there_is_nothing_to_remove_and_probes_are_shell(name: str) -> None:
    for item in parse(name, ROLES[name]).items():
        assert not item.removal("")
        subprocess.run(["sh", "-n", "-c", item.probe()], check=True, timeout=10)


@pytest.mark.parametrize("name", ROLES)
def test_commands_are_shell(name: str) -> None:
    for item in parse(name, ROLES[name]).items():
        for change in item.changes("", frozenset()):
            for command in change.commands:
                subprocess.run(["sh", "-n", "-c", command.text], check=True, timeout=10)
                assert shlex.split(command.text, comments=True)


@pytest.mark.parametrize("name", ROLES)
def test_unknown_and_missing_fields_are_refused_all_at_once(name: str) -> None:
    with pytest.raises(StepFailed) as failure:
        parse(name, {"booking": "Not A Name", "surprise": 1})
    assert failure.value.kind == "invalid"
    assert f"{name}.surprise" in failure.value.cause
    assert f"{name}.booking" in failure.value.cause


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(StepFailed, match="found 'weather'"):
        parse("weather", {})
