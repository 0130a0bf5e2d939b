"""Carries out one operation in a process that a test can interrupt and kill; speaks JSON lines."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from stacks.booking import BookingSpec
from stacks.engine import StackPlace, operate


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    place = StackPlace(**{**asked["place"], "worker": tuple(asked["place"]["worker"])})
    outcome = operate(
        asked["operation"],
        BookingSpec.decode(asked["spec"]),
        place,
        lambda event: print(json.dumps(asdict(event)), flush=True),  # noqa: T201
    )
    print(json.dumps({"outcome": asdict(outcome)}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
