"""200 contenders in four processes, on both databases: no overlap, and nobody is refused without need."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import combinations
from pathlib import Path

from provision.booking.ledger import Ledger

CONTENDERS = 200
PROCESSES = 4
SCRIPT = Path(__file__).with_name("contenders.py")
Wishes = dict[str, list[str]]
Outcome = dict[str, list[str] | str | None]  # a text is an error


def test_exactly_one_contender_wins_each_pair_of_gpus(url: str) -> None:
    wishes = {f"c{number}": [f"gpu-{number % 10}-a", f"gpu-{number % 10}-b"] for number in range(CONTENDERS)}

    outcome = contend(url, wishes)

    winners = sorted(wishes[name][0] for name, refused in outcome.items() if refused is None)
    assert winners == [f"gpu-{pair}-a" for pair in range(10)]


def test_who_is_refused_is_told_a_gpu_that_somebody_else_got(url: str) -> None:
    chance = random.Random(7)
    gpus = [f"gpu-{number:02}" for number in range(40)]
    wishes = {f"c{number}": chance.sample(gpus, 2) for number in range(CONTENDERS)}

    outcome = contend(url, wishes)

    won = {gpu for name, refused in outcome.items() if refused is None for gpu in wishes[name]}
    for name, refused in outcome.items():
        if refused is not None:
            assert set(refused) <= set(wishes[name]), name
            assert set(refused) & won, name
    with Ledger(url) as ledger:
        assert ledger.taken(100, 200) == won


def contend(url: str, wishes: Wishes) -> Outcome:
    """Let all contend at once; check what must hold whatever they want."""
    with Ledger(url):
        pass  # its schema is made here: how processes race for that is another test
    processes = [_process(url, dict(list(wishes.items())[number::PROCESSES])) for number in range(PROCESSES)]
    outcome: Outcome = {}
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            outcome |= json.loads(process.communicate(timeout=120)[0])
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sorted(outcome) == sorted(wishes)
    assert not [text for text in outcome.values() if isinstance(text, str)]
    _check(url, outcome)
    return outcome


def _check(url: str, outcome: Outcome) -> None:
    with Ledger(url) as ledger:
        bookings = ledger.bookings()
        assert sorted(booking.slot for booking in bookings) == list(range(CONTENDERS))
        claims = {booking.name: ledger.claims(booking.id) for booking in bookings}
    for name, refused in outcome.items():
        assert len(claims[name]) == (2 if refused is None else 0)
    every = [claim for held in claims.values() for claim in held]
    assert not [pair for pair in combinations(every, 2) if pair[0].overlaps(pair[1])]


def _process(url: str, wishes: Wishes) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT, url, json.dumps(wishes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
