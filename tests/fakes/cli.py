"""`timelock` driven as a person does it: the installed command, in a home of its own, judged by exit code and words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.home import Home

COMMAND = Path(sys.executable).with_name("timelock")
LIMIT_SECONDS = 280


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    def expect(self, code: int | None) -> Ran:
        """Itself; the test fails if it ended otherwise (None: any code will do), or with a traceback."""
        assert "Traceback" not in self.err, self
        assert code is None or self.code == code, f"{self}: expected exit code {code}, found {self.code}"
        return self

    @property
    def problems(self) -> list[str]:
        """The messages of its error."""
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]

    @property
    def advice(self) -> str:
        """What it says to do."""
        return " ".join(line.strip().removeprefix("→ ") for line in self.err.splitlines() if line.startswith("  → "))

    def __str__(self) -> str:
        return f"timelock {' '.join(self.words)}\n{self.out}\n{self.err}"


@dataclass(frozen=True)
class Cli:
    """Runs `timelock` in `home`, for the hosts of `inventory`."""

    home: Home
    inventory: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str | Path, code: int | None = 0) -> Ran:
        """Run it to its end."""
        with self.start(*words) as process:
            try:
                out, err = process.communicate(timeout=LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise AssertionError(f"timelock {words}: no end within {LIMIT_SECONDS} s: {out}{err}") from None
        return Ran(words=tuple(map(str, words)), code=process.returncode, out=out, err=err).expect(code)

    def json(self, *words: str | Path, code: int | None = 0) -> Any:
        """Run it with --json; what it printed, as a value. Nothing else may be on standard output."""
        return json.loads(self(*words, "--json", code=code).out)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start it, in a session of its own."""
        return subprocess.Popen(
            [COMMAND, *words],
            env=self._environment(),
            cwd=self.home.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIMELOCK_", "PULUMI"))}
        places = {"TIMELOCK_HOME": str(self.home.root), "TIMELOCK_CACHE": str(self.home.cache)}
        inventory = {"TIMELOCK_INVENTORY": str(self.inventory)} if self.inventory else {}
        return {**kept, **places, **inventory, **self.environment}
