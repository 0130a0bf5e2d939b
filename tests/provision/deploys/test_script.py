"""Probes in one script, and the frame of a command."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.deploys.errors import StepFailed
from provision.deploys.item import Change, Command
from provision.deploys.script import framed, interruption, observation, split
from tests.provision.deploys.conftest import Sandbox


@dataclass(frozen=True)
class Probe:
    label: str
    text: str
    shared: str = ""

    def probe(self) -> str:
        return self.text

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        return ()

    def removal(self, seen: str) -> tuple[Change, ...]:
        return ()


def test_each_probe_is_on_its_own(sandbox: Sandbox) -> None:
    texts = ["echo one; echo two", "exit 3", "echo noise >&2; false", "cat", "cd /; x=1", "pwd; echo $x", "printf end"]
    script = observation([Probe(str(number), text) for number, text in enumerate(texts)], "token", "echo before")
    where = sandbox.sh("pwd").strip()
    assert split(sandbox.look(script), "token") == ("one\ntwo", "", "", "", "", where, "end")


def test_output_that_is_cut_short_is_noticed(sandbox: Sandbox) -> None:
    output = sandbox.look(observation([Probe("a", "echo a"), Probe("b", "echo b")], "token"))
    lines = output.splitlines()
    for length in range(len(lines)):
        assert split("\n".join(lines[:length]), "token") is None


@given(st.lists(st.text(st.characters(blacklist_categories=["Cc", "Zl", "Zp", "Cs"])), max_size=5))
def test_what_probes_print_comes_back(texts: list[str]) -> None:
    output = "".join(f"##t0k3n {number}\n{text}\n" for number, text in enumerate(texts)) + "##t0k3n end\n"
    assert split(output, "t0k3n") == tuple(text.strip() for text in texts)


@pytest.mark.parametrize(
    ("text", "kind", "cause", "advice"),
    [
        ("echo one >&2; false; echo two >&2", "step", "one", ""),
        ("fail registry 'no such image' 'push it'; echo more", "registry", "no such image", "push it"),
        ("fail digest 'differs' ''", "digest", "differs", ""),
        ("cat > /dev/full < /etc/passwd", "disk_full", "No space left on device", "free space"),
        ("exit 7", "step", "failed and said nothing", ""),
    ],
)
def test_how_a_command_fails(sandbox: Sandbox, text: str, kind: str, cause: str, advice: str) -> None:
    with pytest.raises(StepFailed) as failure:
        sandbox.act("demo", "a step", [Command(text=text)])
    assert (failure.value.step, failure.value.kind) == ("a step", kind)
    assert cause in failure.value.cause
    assert "two" not in failure.value.cause
    assert advice in failure.value.next_step


def test_half_of_what_was_to_be_sent_does_nothing(sandbox: Sandbox) -> None:
    command = Command(text="cat > /run/sent", stdin="größe=1\nsecret=\\n%s\n")
    sandbox.act("demo", "a step", [command])
    assert sandbox.sh("cat /run/sent") == command.stdin
    for length in range(len(command.stdin) - 1):
        assert sandbox.status(framed(command, "demo", "timelock-t"), command.stdin[:length]) != 0
    assert sandbox.sh("cat /run/sent") == command.stdin


def test_a_command_that_takes_too_long_is_ended_on_the_host(sandbox: Sandbox) -> None:
    with pytest.raises(StepFailed, match="did not end within 1 s") as failure:
        sandbox.act("demo", "a step", [Command(text="echo so far >&2; sleep 1234", timeout_seconds=1)])
    assert failure.value.kind == "timeout"
    assert "so far" in failure.value.cause
    assert sandbox.sh("pgrep -f 'sleep 123[4]' || :") == ""


def test_commands_of_a_booking_wait_for_each_other_and_what_they_leave_running_does_not_count(sandbox: Sandbox) -> None:
    sandbox.act("demo", "leave", [Command(text="sleep 30 >/dev/null 2>&1 & echo $! > /run/left")])
    sandbox.act("demo", "next", [Command(text="touch /run/next", timeout_seconds=1)])
    sandbox.sh("kill $(cat /run/left); test -e /run/next")


def test_an_interruption_finds_its_run_and_not_itself(sandbox: Sandbox) -> None:
    run = "timeout 99 sh -c ': timelock-abc; touch /run/there; sleep 4321; :' >/dev/null 2>&1 &"
    sandbox.sh(f"{run}\nuntil [ -e /run/there ]; do :; done")
    sandbox.sh(interruption("timelock-abc"))
    sandbox.sh("while pgrep -f '[s]leep 4321'; do :; done")
