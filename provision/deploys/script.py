"""What is sent to a host: one script that runs the probes of many items, and the frame in which a command runs."""

from __future__ import annotations

from collections.abc import Sequence

from provision.deploys.item import Command, Item, quote
from provision.deploys.places import RUN

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FAIL_MARK = "##timelock-fail"
NEXT_MARK = "##timelock-next"
BUSY_MARK = "##timelock-busy"
_LOCK_TIMEOUT_STATUS = 75
_NEWLINE = "\n"
_SETTLE_SECONDS = 20

# `fail KIND CAUSE NEXT` ends a command with a kind of the worker protocol and advice for the operator.
PRELUDE = f"""\
export LC_ALL=C PATH={PATH}
fail() {{ printf '%s\\n{FAIL_MARK} %s\\n' "$2" "$1" >&2; [ -z "$3" ] || printf '{NEXT_MARK} %s\\n' "$3" >&2; exit 1; }}
"""


def observation(items: Sequence[Item], token: str, before: str = "") -> str:
    """Return the script that runs `before` and then each item's probe, parted by lines that hold `token`."""
    parts = [PRELUDE, before]
    for number, item in enumerate(items):
        parts.append(f"echo '##{token} {number}'; (\n{item.probe()}\n) 2>/dev/null </dev/null; echo")
    parts.append(f"echo '##{token} end'")
    return "\n".join(parts)


def settled(booking: str) -> str:
    """Return shell text that waits for the end of a command of the booking, for a while, then gives up with BUSY_MARK.

    Only a dead controller's command can still run then. What it is about to make would be overlooked, and stay.
    """
    lock = quote(f"{RUN}/{booking}.lock")
    return f"[ ! -e {lock} ] || flock -w {_SETTLE_SECONDS} {lock} true || {{ echo '{BUSY_MARK}'; exit; }}"


def split(output: str, token: str) -> tuple[str, ...] | None:
    """Return what each probe printed, in order; None when the output is cut short."""
    seen, current = list[list[str]](), list[str]()
    for line in output.splitlines():
        head, _, number = line.partition(" ")
        if head != f"##{token}":
            current.append(line)
        elif number == "end":
            return tuple("\n".join(lines).strip() for lines in seen)
        else:
            seen.append(current := [])
    return None


def framed(command: Command, booking: str, token: str) -> str:
    """Return the shell text that runs `command` on the host, within its time, and alone within its booking.

    The lock outlives a dead controller as long as the orphaned command does, so that a command of its successor waits
    for the orphan instead of meeting it. What the command leaves running does not inherit the lock. `set -e` holds for
    the text. `token` names the run, for `interruption`. What comes on standard input is read whole before anything is
    done: a controller that died in the middle of it has sent half a file, or half of a container's variables.
    """
    text = (
        f"timeout -k 5 {command.timeout_seconds} sh -c {quote(f': {token}; {PRELUDE}set -e{_NEWLINE}{command.text}')}"
    )
    if command.exclusive:
        lock, wait = quote(f"{RUN}/{booking}.lock"), command.timeout_seconds + 5
        text = f"mkdir -p {RUN} && flock -o -E {_LOCK_TIMEOUT_STATUS} -w {wait} {lock} {text}"
    if command.stdin:
        size = len(command.stdin.rstrip("\n").encode())
        whole = f"data=$(cat); [ ${{#data}} -eq {size} ] || fail step 'what was sent is cut short' ''"
        text = f"{whole}\nprintf '%s\\n' \"$data\" | {{ {text}; }}"
    return f"{PRELUDE}{text}\ncase $? in\n{_verdicts(command.timeout_seconds)}esac"


def interruption(token: str) -> str:
    """Return the shell text that ends the run named `token`; `timeout` passes the signal on to all it started."""
    return f"pkill -TERM -f {quote(f'[{token[0]}]{token[1:]}')}"  # the brackets keep it from finding itself


def _verdicts(timeout_seconds: int) -> str:
    """Return the branches that tell why a command did not end well, where the command itself could not."""
    return (
        "0) ;;\n"
        f"124|137) fail timeout 'did not end within {timeout_seconds} s' '' ;;\n"
        f"{_LOCK_TIMEOUT_STATUS}) fail timeout 'another command of this booking still runs on the host' '' ;;\n"
        "*) exit 1 ;;\n"
    )
