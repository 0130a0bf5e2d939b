"""Writing a file in one step."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from provision.deploys.item import change, write
from tests.provision.deploys.conftest import Sandbox


@given(st.text())
def test_content_arrives_as_it_was(content: str) -> None:
    command = write("/etc/x", content, mode=0o600)
    assert base64.b64decode(command.stdin).decode() == content


def test_a_change_holds_its_commands_in_order() -> None:
    made = change("why", "first", "second", timeout_seconds=5)
    assert [(command.text, command.timeout_seconds) for command in made.commands] == [("first", 5), ("second", 5)]


def test_an_old_file_is_replaced_with_mode_and_owner(sandbox: Sandbox) -> None:
    sandbox.sh("echo old > /etc/x; ln -s /etc/x /etc/link")
    sandbox.act("demo", "test", [write("/etc/link", "new", mode=0o604, owner="nobody:root")])
    assert sandbox.sh("cat /etc/x; cat /etc/link; stat -c ' %a %U %F' /etc/link; ls /etc/*.timelock || :") == (
        "old\nnew 604 nobody regular file\n"
    )
