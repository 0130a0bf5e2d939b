"""Units: the fewest systemctl calls that make one right."""

import hashlib

import pytest

from provision.deploys.items.units import Running, Unit

CONTENT = "[Service]\nExecStart=/bin/true\n"
DIGEST = hashlib.sha256(CONTENT.encode()).hexdigest()
UNIT = Unit(name="timelock-x.service", content=CONTENT, follows=("file /etc/x",))


def shown(active: str = "active", enabled: str = "enabled", reload: str = "no", digest: str = DIGEST) -> str:
    line = f"\n{digest}  -" if digest else ""
    return f"ActiveState={active}\nUnitFileState={enabled}\nNeedDaemonReload={reload}\nFragmentPath=/x{line}"


def verbs(seen: str, changed: frozenset[str] = frozenset()) -> list[str]:
    texts = [command.text for change in UNIT.changes(seen, changed) for command in change.commands]
    return [_verb(line) for text in texts for line in text.splitlines()]


def _verb(line: str) -> str:
    if line.endswith("|| systemctl daemon-reload"):
        return "reload if stale"
    words = line.replace("--no-reload ", "").split()
    return words[1] if words[0] == "systemctl" else "write"


@pytest.mark.parametrize(
    ("seen", "changed", "expected"),
    [
        (shown(), frozenset[str](), []),
        (shown(), frozenset({"file /etc/other"}), []),
        (shown(), frozenset({"file /etc/x"}), ["restart"]),
        (shown(active="failed"), frozenset(), ["restart"]),
        (shown(enabled="disabled"), frozenset(), ["enable"]),
        (shown(reload="yes"), frozenset(), ["reload if stale"]),
        (shown(digest="0" * 64), frozenset(), ["write", "reload if stale", "restart"]),
        (shown("inactive", "", digest=""), frozenset(), ["write", "enable", "reload if stale", "restart"]),
    ],
)
def test_changes(seen: str, changed: frozenset[str], expected: list[str]) -> None:
    assert verbs(seen, changed) == expected


def test_reasons_name_the_cause() -> None:
    (followed,) = UNIT.changes(shown(), frozenset({"file /etc/x"}))
    (stopped,) = UNIT.changes(shown(active="inactive"), frozenset())
    (new,) = UNIT.changes(shown("inactive", "", digest=""), frozenset())
    assert [followed.reason, stopped.reason] == ["file /etc/x changes", "is inactive"]
    assert new.reason == "absent, is inactive"


def test_reload_instead_of_restart_unless_the_file_is_new() -> None:
    unit = Unit(name="timelock-x.service", content=CONTENT, follows=("file /etc/x",), reload=True)
    (change,) = unit.changes(shown(), frozenset({"file /etc/x"}))
    assert "systemctl reload" in change.commands[-1].text
    (change,) = unit.changes(shown(digest="0" * 64), frozenset())
    assert "systemctl restart" in change.commands[-1].text


def test_removal_only_of_what_is_there() -> None:
    assert not UNIT.removal(shown("inactive", "", digest=""))
    assert UNIT.removal(shown("failed", "", digest=""))
    (change,) = UNIT.removal(shown())
    stopped, removed = (change.commands[0].text.index(word) for word in ("systemctl stop", "rm -f"))
    assert stopped < removed < change.commands[0].text.index("systemctl daemon-reload")


def test_a_unit_of_the_hosts_is_started_and_stopped_only_by_who_started_it() -> None:
    containerd = Running(name="containerd.service")
    assert not containerd.changes("active", frozenset())
    assert containerd.changes("inactive", frozenset())[0].reason == "is inactive"
    assert not containerd.removal("active")
    assert containerd.removal("active\nstarted")
