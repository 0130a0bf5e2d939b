"""kill -9 of the whole controller, of each of its processes alone, and of its memory: a booking is gone on with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import LabMaker
from tests.crash.conftest import Make
from tests.crash.controller import Command
from tests.crash.points import BOOK, RELEASE, Point, named
from tests.crash.subject import Subject

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def test_each_resume_is_killed_a_step_later_and_in_the_end_all_agree(subject: Make) -> None:
    one = subject(1)
    start: Callable[[str], Command] = one.book
    for point in (point for point in BOOK if not point.full):
        one.kill(start(point.halt), point)
        start = one.resume
    one.succeeds(one.resume())
    one.agrees()
    for point in (point for point in RELEASE if not point.full):
        one.kill(one.release(point.halt), point)
    one.succeeds(one.release())
    one.is_gone()


ALONE = (
    ("runner", "baseline apply: user"),
    ("cli", "engine apply: unit timelock-docker"),
    ("pulumi", "firewall apply: table"),
    ("provider", "mesh apply: file"),
    ("worker", "mesh apply: unit"),
    ("child", "ray apply: ray"),
)


def test_the_death_of_one_process_ends_all_and_is_gone_on_from(subject: Make) -> None:
    one = subject(1)
    start = one.book
    for victim, place in ALONE:
        with start() as command:
            assert command.follow(named(BOOK, place).reached), f"{victim}: {command.text}"
            command.kill_one(victim)
            assert command.ends() != 0, f"{victim}: {command.text}"
        one.makes_sense()
        start = one.resume
    with start() as command:
        assert command.follow(named(BOOK, "acceptance under way").reached), command.text
        command.kill_one("cli")
        one.succeeds(one.resume())  # at once: what the dead command has left is waited for
        command.ends()
    one.agrees()
    one.succeeds(one.release())
    one.is_gone()


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("identity apply: begins", marks=pytest.mark.full),
        pytest.param("engine apply: pull", marks=pytest.mark.full),
        pytest.param("firewall apply: file", marks=pytest.mark.full),
        pytest.param("mesh apply: unit", marks=pytest.mark.full),
        "ray apply: ray",
    ],
)
def test_release_takes_off_what_a_killed_book_has_half_made(subject: Make, place: str) -> None:
    one = subject(1)
    one.kill(one.book(), named(BOOK, place))
    one.succeeds(one.release())
    one.is_gone()


def test_hosts_know_themselves_what_is_on_them_when_the_state_is_lost(subject: Make) -> None:
    one = subject(1)
    one.kill(one.book(), named(BOOK, "mesh apply: unit"))
    one.lose_state()
    one.succeeds(one.release())
    one.is_gone()


@pytest.mark.full
def test_packages_that_were_being_installed_are_all_there(
    new_lab: LabMaker, ssh: Callable[..., str], tmp_path: Path
) -> None:
    lab = new_lab()
    lab.up(hosts=1, gpus=2, image="minimal")
    one = Subject(lab=lab, ssh=ssh, folder=tmp_path, name="crash-packages", hosts=1)
    one.kill(one.book(), Point(name="packages", role="identity", step="packages"))
    one.kill(one.resume(), Point(name="packages", role="baseline", step="packages"))
    one.succeeds(one.resume())
    one.agrees()
    assert ssh(lab, lab.hosts[0].name, "dpkg --audit") == ""
    one.succeeds(one.release())
    one.is_gone()
