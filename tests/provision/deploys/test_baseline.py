"""The baseline's items, and what it tells of time."""

import pytest

from provision.deploys.role import parse
from tests.provision.deploys.roles import ROLES


@pytest.mark.parametrize(
    ("seen", "synchronised", "keeper"),
    [("chrony\nyes", True, "chrony"), ("systemd-timesyncd", False, "systemd-timesyncd"), ("", False, "none")],
)
def test_time_is_told(seen: str, synchronised: bool, keeper: str) -> None:
    outputs = parse("baseline", ROLES["baseline"]).outputs({"clock": seen})
    assert outputs == {"time_synchronised": synchronised, "time_keeper": keeper}


def test_all_but_the_user_is_shared() -> None:
    items = parse("baseline", ROLES["baseline"]).items()
    assert [item.label for item in items if not item.shared] == ["clock", "user tl-demo"]


def test_nothing_wished_nothing_asked() -> None:
    role = parse("baseline", {**ROLES["baseline"], "packages": [], "sysctls": {}})
    assert [item.label for item in role.items()] == ["clock", "user tl-demo"]
