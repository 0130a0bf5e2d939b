"""With the identity goes whatever else was begun, and no more than that; with a host that is a set of names."""

from provision.deploys import begun, reconcile, sweep
from provision.deploys.reconcile import OnStep
from provision.deploys.role import Role, parse
from tests.provision.deploys.conftest import Sandbox

IDENTITY = parse("identity", {"booking": "demo", "planes": [0]})
BASELINE = parse("baseline", {"booking": "demo", "user": "tl-demo", "subid_start": 1_000_000_000})
FOLDER = "/var/lib/timelock-host/bookings/demo"


def test_the_identity_takes_along_what_is_left(sandbox: Sandbox, on_step: OnStep) -> None:
    for role in (IDENTITY, BASELINE):
        reconcile.apply(sandbox, role, on_step)
    changes = sweep.remove(sandbox, IDENTITY, on_step).changes
    assert changes[0] == "user tl-demo: no longer wanted"
    assert sandbox.sh(f"getent passwd tl-demo || ls {FOLDER} || echo gone") == "gone\n"
    assert sweep.remove(sandbox, IDENTITY, on_step).changes == ()


def test_a_role_that_was_removed_is_looked_at_and_left(sandbox: Sandbox, on_step: OnStep) -> None:
    for role in (IDENTITY, BASELINE):
        reconcile.apply(sandbox, role, on_step)
    assert remaining(sandbox) == ["baseline"]
    sweep.remove(sandbox, BASELINE, on_step)
    assert remaining(sandbox) == []


def test_a_command_of_a_dead_controller_is_waited_for(sandbox: Sandbox, on_step: OnStep) -> None:
    reconcile.apply(sandbox, IDENTITY, on_step)
    waited_for = "until grep -q -e '-> FLOCK' /proc/locks; do :; done"
    orphan = f'flock -o /run/timelock/demo.lock sh -c "{waited_for}; useradd -r tl-demo" >/dev/null 2>&1 &'
    sandbox.sh(f"mkdir -p /run/timelock; {orphan}\nwhile flock -n /run/timelock/demo.lock true; do :; done")
    assert reconcile.remove(sandbox, BASELINE, on_step).changes == ("user tl-demo: no longer wanted",)


def remaining(sandbox: Sandbox) -> list[str]:
    noted = begun.read("demo", sandbox.look(begun.reading("demo")))
    others: list[Role] = [role for role in noted if role.name != "identity"]
    return [role.name for role in reconcile.remaining(sandbox, others)]
