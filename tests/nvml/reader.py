"""A process with the real nvidia-ml-py in it, that evaluates what a test asks.

Here it is started and asked; in the child (`python reader.py`) each line is an expression, in which `n` is pynvml,
`ctypes` is at hand and `gpu(I)` gives a handle. The answer is one line of JSON: the value, or the error's code.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.nvml.fake import FakeNvml

REPOSITORY = Path(__file__).parents[2]


class Failed(Exception):
    """NVML answered with an error."""

    def __init__(self, code: int) -> None:
        super().__init__(f"NVML error {code}")
        self.code = code


class Reader:
    """A client of the fake driver that stays, as an agent does."""

    def __init__(self, fake: FakeNvml, *, through: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            (*through, sys.executable, "-m", __name__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=fake.environment,
            cwd=REPOSITORY,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def __call__(self, expression: str) -> Any:
        """Evaluate; raises Failed for an NVML error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{expression}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "code" in answer:
            raise Failed(answer["code"])
        return answer["value"]

    def code(self, expression: str) -> int:
        """The error that an expression ends with; 0 when it ends well."""
        try:
            self(expression)
        except Failed as failed:
            return failed.code
        return 0

    def pids(self, gpu: int, kind: str = "Compute") -> list[int]:
        return [pid for pid, _ in self.processes(gpu, kind)]

    def processes(self, gpu: int, kind: str = "Compute") -> list[tuple[int, int | None]]:
        rows = self(f"[(p.pid, p.usedGpuMemory) for p in n.nvmlDeviceGet{kind}RunningProcesses_v3(gpu({gpu}))]")
        return [(pid, memory) for pid, memory in rows]


def serve() -> None:
    """Be the child."""
    import pynvml as n

    def gpu(index: int) -> Any:
        return n.nvmlDeviceGetHandleByIndex(index)

    n.nvmlInit()
    known = {"n": n, "ctypes": ctypes, "gpu": gpu}
    for line in sys.stdin:
        try:
            answer = {"value": eval(line, known)}
        except n.NVMLError as error:
            answer = {"code": error.value}
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
