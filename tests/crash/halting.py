"""`timelock`, but that it stands still at one place, so that it can be killed exactly there.

`python -m tests.crash.halting WHERE COMMAND …`, where WHERE is `before STATE` or `after STATE` (an arrow of the
booking's life, not yet or just written to the ledger), `file NAME` (a file of this name is about to get its content),
or empty. A command that stands still says so on standard error, and never goes on.
"""

import signal
import sys
from collections.abc import Callable
from typing import Any

HALTED = "halted: "


def main() -> None:
    where, sys.argv = sys.argv[1], ["timelock", *sys.argv[2:]]
    if where.startswith("file "):
        sys.addaudithook(lambda event, arguments: _renamed(where, event, arguments))
    elif where:
        _halt_at_arrows(where)
    from provision.cli import main as timelock

    timelock()


def _halt_at_arrows(where: str) -> None:
    from provision.booking.ledger import Ledger

    def around(method: Callable[..., Any], state_of: Callable[..., str]) -> Callable[..., Any]:
        def halting(self: Ledger, *arguments: Any, **named: Any) -> Any:
            _halt(where, f"before {state_of(*arguments)}")
            result = method(self, *arguments, **named)
            _halt(where, f"after {state_of(*arguments)}")
            return result

        return halting

    Ledger.accept = around(Ledger.accept, lambda *_: "REQUESTED")  # type: ignore[method-assign]
    Ledger.transition = around(Ledger.transition, lambda _, new, *__: str(new))  # type: ignore[method-assign]


def _renamed(where: str, event: str, arguments: tuple[Any, ...]) -> None:
    if event == "os.rename":
        _halt(where, f"file {str(arguments[1]).rpartition('/')[2]}")


def _halt(where: str, here: str) -> None:
    if where == here:
        sys.stderr.write(f"{HALTED}{here}\n")
        sys.stderr.flush()
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
