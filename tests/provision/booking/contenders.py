"""A process of contenders for test_ledger_contention.py: threads, each with its own Ledger, that claim at one signal.

argv: the ledger's URL, then a JSON object {contender: [GPU, …]}. Enters a booking for each, says "ready", waits for a
line, then prints a JSON object {contender: null (it won) | [GPUs that were held by others] | text of an error}.
"""

from __future__ import annotations

import json
import sys
import threading

from provision.booking.errors import ClaimConflict
from provision.booking.ledger import Ledger


def main() -> None:
    url, wishes = sys.argv[1], json.loads(sys.argv[2])
    ledgers = {name: Ledger(url) for name in wishes}
    ids = {name: ledger.accept(name, "", "", 100, 200, "image", 1).id for name, ledger in ledgers.items()}
    outcome: dict[str, list[str] | str | None] = {}
    go = threading.Event()

    def contend(name: str) -> None:
        go.wait(60)
        try:
            ledgers[name].claim(ids[name], [(gpu, "host") for gpu in wishes[name]], 100, 200)
            outcome[name] = None
        except ClaimConflict as conflict:
            outcome[name] = list(conflict.gpus)
        except Exception as error:  # noqa: BLE001  # told to the test, which fails on it
            outcome[name] = repr(error)

    threads = [threading.Thread(target=contend, args=(name,)) for name in wishes]
    for thread in threads:
        thread.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    go.set()
    for thread in threads:
        thread.join(120)
    for ledger in ledgers.values():
        ledger.close()
    sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    main()
