"""The hosts of tests/fakes/worker.py as a test sees and steers them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).parent / "worker.py"


@dataclass(frozen=True, slots=True)
class FakeHosts:
    root: Path

    @classmethod
    def make(cls, root: Path) -> FakeHosts:
        root.mkdir()
        return cls(root)

    @property
    def argv(self) -> tuple[str, ...]:
        return (sys.executable, str(WORKER), str(self.root))

    def set(self, host: str, name: str, content: str = "") -> None:
        (self.root / host).mkdir(parents=True, exist_ok=True)
        (self.root / host / name).write_text(content)

    def clear(self, host: str, name: str) -> None:
        (self.root / host / name).unlink()

    def fail(self, host: str, role: str, **failure: str) -> None:
        self.set(host, f"{role}.fail", json.dumps(failure))

    def delete(self, host: str, role: str) -> None:
        self.clear(host, f"{role}.json")

    def roles(self, host: str) -> set[str]:
        return {path.stem for path in (self.root / host).glob("*.json")}

    def outputs(self, host: str, role: str) -> dict[str, Any]:
        outputs: dict[str, Any] = json.loads((self.root / host / f"{role}.json").read_text())["outputs"]
        return outputs

    def jobs(self, *verbs: str) -> list[dict[str, Any]]:
        log = self.root / "jobs.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        return [job for line in lines if (job := json.loads(line))["verb"] in verbs]
