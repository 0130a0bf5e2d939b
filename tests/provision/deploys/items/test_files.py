"""Files and directories: decisions from data, effects in a sandbox."""

import hashlib

import pytest

from provision.deploys.items.files import Directory, File, Leftover
from tests.provision.deploys.conftest import Sandbox

CONTENT = "one\ntwo"
DIGEST = hashlib.sha256(CONTENT.encode()).hexdigest()
FILE = File(path="/etc/example.conf", content=CONTENT, mode=0o640)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (f"regular file|640|root:root\n{DIGEST}  -", None),
        ("", "absent"),
        (f"regular file|644|root:root\n{DIGEST}  -", "mode is 644, should be 640"),
        (f"regular file|640|nobody:root\n{DIGEST}  -", "owner is nobody:root, should be root:root"),
        (f"regular empty file|640|root:root\n{'0' * 64}  -", "content differs"),
        ("symbolic link|777|root:root", "is a symbolic link, should be a file"),
        ("directory|755|root:root", "is a directory, should be a file"),
    ],
)
def test_a_file_differs(seen: str, reason: str | None) -> None:
    changes = FILE.changes(seen, frozenset())
    assert [change.reason for change in changes] == ([reason] if reason else [])


def test_content_travels_on_standard_input_and_stays_out_of_text_and_repr() -> None:
    secret = File(path="/etc/secret", content="hunter2")
    (change,) = secret.changes("", frozenset())
    assert "hunter2" not in f"{change} {secret} {[command.text for command in change.commands]}"


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ("directory|755|root:root\nmade", None),
        ("directory|700|nobody:root", None),
        ("directory|700|root:root\nmade", "is 700 root:root, should be 755 root:root"),
        ("", "absent"),
        ("regular file|644|root:root", "is a regular file, should be a directory"),
    ],
)
def test_a_directory_differs_and_one_of_others_is_left_alone(seen: str, reason: str | None) -> None:
    changes = Directory(path="/etc/example").changes(seen, frozenset())
    assert [change.reason for change in changes] == ([reason] if reason else [])


def test_only_a_directory_that_we_made_is_removed() -> None:
    assert not Directory(path="/etc/example").removal("directory|755|root:root")
    assert not Directory(path="/etc/example").removal("")
    assert Directory(path="/etc/example").removal("directory|755|root:root\nmade")
    assert Directory(path="/etc/example", private=True).removal("directory|755|root:root")


def test_a_file_comes_and_goes(sandbox: Sandbox) -> None:
    file = File(path="/etc/it's here", content="a\n$HOME `id`\n", mode=0o600, after="touch /run/after")
    sandbox.do(file.changes("", frozenset()))
    assert sandbox.sh('cat "/etc/it\'s here"; ls /run/after') == "a\n$HOME `id`\n/run/after\n"
    assert not file.changes(sandbox.seen(file.probe()), frozenset())
    sandbox.do(file.removal(sandbox.seen(file.probe())))
    assert sandbox.seen(file.probe()) == ""
    assert not file.removal("")


def test_a_foreign_file_comes_back(sandbox: Sandbox) -> None:
    sandbox.sh("echo before > /etc/theirs; chmod 604 /etc/theirs")
    file = File(path="/etc/theirs", content="ours", foreign=True)
    sandbox.do(file.changes(sandbox.seen(file.probe()), frozenset()))
    assert sandbox.sh("cat /etc/theirs") == "ours"
    sandbox.do(file.removal(sandbox.seen(file.probe())))
    assert sandbox.sh("cat /etc/theirs; stat -c %a /etc/theirs; ls /var/lib/timelock-host/before") == "before\n604\n"


def test_where_there_was_nothing_a_foreign_file_leaves_nothing(sandbox: Sandbox) -> None:
    file = File(path="/etc/theirs", content="ours", foreign=True)
    for _ in range(2):
        sandbox.do(file.changes(sandbox.seen(file.probe()), frozenset()))
    sandbox.do(file.removal(sandbox.seen(file.probe())))
    assert sandbox.seen(f"{file.probe()}; ls /var/lib/timelock-host/before") == ""


def test_directories_come_and_go_and_leave_what_others_put_there(sandbox: Sandbox) -> None:
    made = [
        Directory(path="/opt/outer", mode=0o711),
        Directory(path="/opt/outer/inner"),
        Directory(path="/opt/ours", ours=True),
        Directory(path="/opt/private", private=True),
    ]
    for directory in made:
        sandbox.do(directory.changes("", frozenset()))
        assert not directory.changes(sandbox.seen(directory.probe()), frozenset())
    sandbox.sh("touch /opt/outer/theirs /opt/private/ours /opt/ours/theirs")
    for directory in reversed(made):
        sandbox.do(directory.removal(sandbox.seen(directory.probe())))
    assert sandbox.sh("cd /opt; ls -d outer/* ours private 2>/dev/null || :").split() == ["ours", "outer/theirs"]
    assert sandbox.sh("ls /var/lib/timelock-host/before") == ""
    # What others have filled is theirs now; what is ours by name stays ours.
    sandbox.sh("rm /opt/outer/theirs /opt/ours/theirs")
    for directory in reversed(made):
        sandbox.do(directory.removal(sandbox.seen(directory.probe())))
    assert sandbox.sh("cd /opt; ls -d outer ours 2>/dev/null || :").split() == ["outer"]


def test_a_leftover_goes_unless_it_was_there_before(sandbox: Sandbox) -> None:
    new, old = Leftover(path="/etc/new"), Leftover(path="/etc/old")
    sandbox.sh("touch /etc/old")
    for leftover in (new, old):
        sandbox.do(leftover.changes(sandbox.seen(leftover.probe()), frozenset()))
        assert not leftover.changes(sandbox.seen(leftover.probe()), frozenset())
    sandbox.sh("touch /etc/new")
    for leftover in (new, old):
        assert not leftover.changes(sandbox.seen(leftover.probe()), frozenset())
        sandbox.do(leftover.removal(sandbox.seen(leftover.probe())))
        assert not leftover.removal(sandbox.seen(leftover.probe()))
    assert sandbox.sh("ls -d /etc/new /etc/old 2>/dev/null || :") == "/etc/old\n"
