"""Notes on a host: written whole, read back, without secrets."""

import pytest

from provision.deploys import begun
from provision.deploys.errors import StepFailed
from provision.deploys.role import NAMES, parse
from tests.provision.deploys import test_mesh, test_ray
from tests.provision.deploys.conftest import Sandbox
from tests.provision.deploys.roles import DIGEST, ROLES

ALL = {
    **ROLES,
    "mesh": test_mesh.PARAMS,
    "image": {"booking": "demo", "references": [f"192.0.2.1:5000/timelock/ray@{DIGEST}"]},
    "ray": {**test_ray.PARAMS, "token": test_ray.TOKEN},
}
FOLDER = "/var/lib/timelock-host/bookings/demo/roles"


def test_roles_come_back_last_first_and_hold_no_secret(sandbox: Sandbox) -> None:
    assert set(ALL) == set(NAMES)
    for name, params in ALL.items():
        for _ in range(2):
            sandbox.sh(begun.note(parse(name, params)))
    text = sandbox.sh(begun.reading("demo"))
    assert [role.name for role in begun.read("demo", text)] == list(reversed(NAMES))
    assert test_mesh.PRESHARED not in text
    assert test_ray.TOKEN not in text
    assert sandbox.sh(f"stat -c '%a %F' {FOLDER} {FOLDER}/*").split("\n")[:2] == ["700 directory", "600 regular file"]


@pytest.mark.parametrize("name", ALL)
def test_what_is_kept_is_enough_to_undo(name: str) -> None:
    role = parse(name, ALL[name])
    kept = parse(name, {**role.kept(), "booking": "demo"})
    own = [item.label for item in role.items()]
    assert [item.label for item in kept.items()] == own


def test_where_nothing_was_begun_nothing_is_read(sandbox: Sandbox) -> None:
    assert begun.read("demo", sandbox.sh(begun.reading("demo"))) == ()


@pytest.mark.parametrize("line", ["{", "[]", '{"v":1}', '{"v":1,"role":"weather","params":{}}'])
def test_a_damaged_note_is_named(line: str) -> None:
    with pytest.raises(StepFailed) as failure:
        begun.read("demo", f"notes\n{line}\n")
    assert failure.value.kind == "invalid"
