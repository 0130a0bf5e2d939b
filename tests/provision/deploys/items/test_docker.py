"""What a booking's engine leaves behind."""

import pytest

from provision.deploys.items.docker import Containers, DataRoot, Namespaces, Prefetch
from tests.provision.deploys.conftest import Sandbox

REFERENCE = f"registry:5000/timelock/ray@sha256:{'0' * 64}"
PULL = Prefetch(booking="demo", reference=REFERENCE)
ROOT = DataRoot(path="/srv/timelock/demo", run="/run/timelock/demo")


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ("700 root", None),
        ("710 root\nrun", None),
        ("", "absent"),
        ("run", "absent"),
        ("777 root\nrun", "is 777 root, should be 710 root"),
        ("710 nobody", "is 710 nobody, should be 710 root"),
    ],
)
def test_data_root(seen: str, reason: str | None) -> None:
    assert [change.reason for change in ROOT.changes(seen, frozenset())] == ([reason] if reason else [])


def test_the_engine_s_leftovers_go_with_the_data_root(sandbox: Sandbox) -> None:
    beside = "/run/timelock/demo.2000000.2000000/containerd.2000000.2000000"
    sandbox.sh(f"mkdir -p {beside}/mounted && mount -t tmpfs tmpfs {beside}/mounted; touch /run/timelock/demo.lock")
    assert ROOT.removal(sandbox.seen(ROOT.probe()))
    sandbox.do(ROOT.removal("run"))
    assert sandbox.seen(ROOT.probe()) == ""
    assert sandbox.sh("ls /run/timelock") == "demo.lock\n"


@pytest.mark.parametrize("seen", ["there", "active", "activating", "failed"])
def test_a_pull_is_begun_once_and_its_failure_left_to_the_image_role(seen: str) -> None:
    assert not PULL.changes(seen, frozenset())


@pytest.mark.parametrize("seen", ["inactive", ""])
def test_a_pull_runs_in_the_background(seen: str) -> None:
    (change,) = PULL.changes(seen, frozenset())
    assert "systemd-run" in change.commands[0].text
    assert change.commands[0].text.endswith(f"docker -H unix:///run/timelock/demo.sock pull --quiet {REFERENCE}")


@pytest.mark.parametrize(("seen", "ends"), [("there", False), ("inactive", False), ("active", True), ("failed", True)])
def test_only_a_pull_under_way_or_failed_is_ended(seen: str, ends: bool) -> None:
    assert bool(PULL.removal(seen)) == ends


def test_containers_and_namespaces_ask_for_nothing_and_go() -> None:
    for item in (Containers(booking="demo"), Namespaces(booking="demo")):
        assert not item.changes("", frozenset())
        assert not item.removal("")
    assert Containers(booking="demo").removal("0123456789ab")
    assert len(Namespaces(booking="demo").removal("timelock-demo\ntimelock-demo-plugins")) == 2


def test_a_data_root_goes_with_what_is_mounted_in_it(sandbox: Sandbox) -> None:
    sandbox.do(ROOT.changes(sandbox.seen(ROOT.probe()), frozenset()))
    sandbox.sh(
        "cd /srv/timelock && mkdir -p demo/a/b demo2 /run/timelock/demo/netns && mount -t tmpfs t demo/a"
        " && mkdir demo/a/b && mount -t tmpfs t demo/a/b && mount -t tmpfs t /run/timelock/demo/netns"
        " && touch demo/a/b/file demo2/theirs"
    )
    sandbox.do(ROOT.removal(sandbox.seen(ROOT.probe())))
    assert sandbox.sh("ls -A /srv/timelock /run/timelock; grep -c timelock/demo /proc/mounts || :").split() == [
        "/run/timelock:",
        "demo.lock",
        "/srv/timelock:",
        "demo2",
        "0",
    ]
