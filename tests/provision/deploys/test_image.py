"""Role 'image': waits or pulls; each way to fail has its kind."""

import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from provision.deploys.errors import StepFailed
from provision.deploys.failures import of_command
from provision.deploys.role import parse
from provision.deploys.script import framed

REFERENCE = f"registry:5000/timelock/ray@sha256:{'a' * 64}"


def test_an_image_that_is_there_asks_for_nothing() -> None:
    (item,) = parse("image", {"booking": "demo", "references": [REFERENCE]}).items()
    assert item.label == "image registry:5000/timelock/ray@aaaaaaaaaaaa"
    assert item.changes(f"{REFERENCE} other@sha256:{'b' * 64}", frozenset()) == ()
    assert [change.reason for change in item.changes("", frozenset())] == ["absent"]
    assert [change.reason for change in item.changes(f"other@sha256:{'a' * 64}", frozenset())] == ["absent"]
    assert item.removal(REFERENCE) == ()  # it goes with the data-root


@pytest.mark.parametrize("reference", ["timelock/ray:2.60", "timelock/ray", "x@sha256:short"])
def test_only_digests_are_taken(reference: str) -> None:
    with pytest.raises(StepFailed, match="references"):
        parse("image", {"booking": "demo", "references": [reference]})


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("write /srv/x: no space left on device", "disk_full"),
        ("filesystem layer verification failed for digest sha256:00", "digest"),
        ("error pulling image configuration: image config verification failed for digest sha256:00", "digest"),
        ('Get "https://r:5000/v2/": dial tcp 192.0.2.1:5000: connect: connection refused', "registry"),
        ('Get "https://r:5000/v2/": x509: certificate signed by unknown authority', "registry"),
        ('Get "https://r:5000/v2/": net/http: request canceled (Client.Timeout exceeded)', "registry"),
        ("manifest for r:5000/timelock/ray@sha256:aa not found: manifest unknown", "registry"),
        ("pull access denied for timelock/ray", "registry"),
        ("something else", "step"),
    ],
)
def test_each_way_to_fail_has_its_kind(said: str, kind: str, tmp_path: Path) -> None:
    failure = pull(tmp_path, f"case $* in *' pull '*) echo '{said}' >&2; exit 1 ;; *' inspect '*) exit 1 ;; esac")
    assert failure is not None
    assert (failure.kind, failure.cause) == (kind, said)


def test_a_pull_under_way_is_waited_for(tmp_path: Path) -> None:
    engine = "case $* in *' pull '*) exit 1 ;; *' inspect '*) [ -e there ] ;; esac"
    with subprocess.Popen(["sh", "-c", "read _; touch there"], cwd=tmp_path, stdin=subprocess.PIPE) as pulling:
        ends = threading.Timer(0.3, pulling.communicate)
        ends.start()
        assert pull(tmp_path, engine, f"echo {pulling.pid}") is None
        ends.join()


def test_what_the_engine_does_not_have_after_a_pull_is_not_the_image(tmp_path: Path) -> None:
    failure = pull(tmp_path, "case $* in *' inspect '*) exit 1 ;; esac")
    assert failure is not None
    assert failure.kind == "digest"


def pull(place: Path, engine: str, systemd: str = "echo 0") -> StepFailed | None:
    """Run the command of the item on this machine, against a docker and a systemctl that answer as told."""
    for name, text in (("docker", engine), ("systemctl", systemd)):
        (place / name).write_text(f"#!/bin/sh\ncd {place}\n{text}\n")
        (place / name).chmod(0o755)
    (item,) = parse("image", {"booking": "demo", "references": [REFERENCE]}).items()
    (change,) = item.changes("", frozenset())
    (command,) = change.commands
    text = framed(command, "demo", "test").replace("PATH=", f"PATH={place}:").replace("/run/timelock", str(place))
    shell = shutil.which("sh") or "/bin/sh"
    done = subprocess.run([shell, "-c", text], capture_output=True, text=True, timeout=30, check=False)
    return of_command("image", done.stderr) if done.returncode else None
