"""A machine with fake GPUs for tests: the real nvidia-ml-py loads its driver library, real processes use its GPUs.

The library has to be found before a process starts (LD_LIBRARY_PATH), so what reads this machine's GPUs runs in a child
with `FakeNvml.environment`. Knobs turn while children run. Test equipment: the agent never imports it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from tests.fakes.wait import descendants
from tests.nvml import build

GIB = 2**30
USER_SECONDS = 20
LOST, MIG, BOGUS, SCRAMBLED, MEMORYLESS = "lost", "mig", "bogus", "scrambled", "memoryless"
EVERY_FUNCTION = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeGpu:
    """What a GPU is; `minor` is its device node's, which need not be its index."""

    uuid: str
    minor: int
    pci_bus_id: str
    name: str = "NVIDIA H100 80GB HBM3"
    memory_bytes: int = 80 * GIB
    idle_milliwatts: int = 70_000
    full_milliwatts: int = 700_000

    def line(self) -> str:
        numbers = f"{self.memory_bytes} {self.idle_milliwatts} {self.full_milliwatts}"
        return f"gpu {self.uuid} {self.minor} {self.pci_bus_id} {numbers} {self.name}"


def gpus(count: int) -> tuple[FakeGpu, ...]:
    """Give `count` GPUs that differ in all they can; minor numbers run against the indices."""
    return tuple(
        FakeGpu(
            uuid=f"GPU-{index:08x}-0000-4000-8000-{index:012x}",
            minor=count - 1 - index,
            pci_bus_id=f"00000000:{index + 1:02X}:00.0",
        )
        for index in range(count)
    )


@dataclass(eq=False, kw_only=True)
class User:
    """A real process that uses a GPU. It ends with its standard input, or when it is killed."""

    process: subprocess.Popen[str]
    gpu: int
    pid: int = 0
    """The pid that this machine knows it by, whatever namespace it lives in."""

    def begin(self) -> None:
        """Wait until it uses the GPU."""
        self.answer("ready")
        self.pid = (descendants(self.process.pid) or [self.process.pid])[-1]

    def hold(self, memory_bytes: int) -> None:
        self._say(f"memory {memory_bytes}")

    def work(self, utilisation: int) -> None:
        self._say(f"utilisation {utilisation}")

    def stop(self) -> None:
        """Let it end by itself, in good order."""
        with contextlib.suppress(BrokenPipeError):
            _pipe(self.process.stdin).close()
        assert self.process.wait(USER_SECONDS) == 0

    def kill(self) -> None:
        """End it by SIGKILL: it cannot tidy up."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid or self.process.pid, signal.SIGKILL)
        self.process.wait(USER_SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                _pipe(pipe).close()

    def _say(self, words: str) -> None:
        _pipe(self.process.stdin).write(f"{words}\n")
        _pipe(self.process.stdin).flush()
        self.answer("ok")

    def answer(self, expected: str) -> None:
        found = _pipe(self.process.stdout).readline().split()
        assert found[:1] == [expected], f"expected {expected} of user {self.pid}, found {found}"


class FakeNvml:
    """A directory that is the machine: knobs in a text file, the driver's state in another."""

    def __init__(self, root: Path, gpus: Sequence[FakeGpu], *, missing: Iterable[str] = ()) -> None:
        self.root = root
        self.gpus = tuple(gpus)
        self.driver = "580.65.06"
        self.built = build.build(missing)
        self._epoch = 1
        self._knobs: list[str] = []
        self._users: list[User] = []
        self._replaced: deque[IO[str]] = deque(maxlen=8)  # held open, so that no new file gets the inode of an old one
        root.mkdir(parents=True, exist_ok=True)
        for name in ("registry", "turn"):
            (root / name).touch()
            (root / name).chmod(0o666)  # users of GPUs need not be root
        self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find this machine's driver."""
        return {**os.environ, "LD_LIBRARY_PATH": str(self.built), "TIMELOCK_FAKE_NVML": str(self.root)}

    def use(
        self,
        gpu: int,
        memory_bytes: int = GIB,
        utilisation: int = 50,
        *,
        kind: str = "compute",
        device: str = "",
        through: Sequence[str] = (),
    ) -> User:
        """Start a process that uses a GPU, by way of the command `through`, and wait until it does."""
        words = [str(self.built / "user"), str(gpu), str(memory_bytes), str(utilisation), "--kind", kind]
        process = subprocess.Popen(
            (*through, *words, *(("--device", device) if device else ())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        user = User(process=process, gpu=gpu)
        self._users.append(user)
        user.begin()
        return user

    def turn(self, knob: str, gpu: int, *, on: bool = True) -> None:
        """Turn one of LOST, MIG, BOGUS, SCRAMBLED, MEMORYLESS for a GPU."""
        self._set(f"{knob} {gpu}", on=on)

    def omit(self, gpu: int, pid: int) -> None:
        """Leave an active process out of the process lists."""
        self._set(f"omit {gpu} {pid}", on=True)

    def fail(self, function: str, code: int, *, on: bool = True) -> None:
        """Let a function return a code of nvml.h, and do nothing."""
        self._set(f"fail {function} {code}", on=on)

    def hang(self, function: str = EVERY_FUNCTION, *, on: bool = True) -> None:
        """Let a function not come back for as long as this is on."""
        self._set(f"hang {function}", on=on)

    def reload_driver(self, version: str = "") -> None:
        """Unload and load the driver; nobody can use a GPU meanwhile."""
        for user in self._users:
            user.close()
        self.driver = version or self.driver
        self._epoch += 1
        self._write()

    def close(self) -> None:
        """End all users; hanging readers get their answer."""
        for user in self._users:
            user.close()
        self._knobs.clear()
        self._write()
        for file in self._replaced:
            file.close()

    def _set(self, knob: str, *, on: bool) -> None:
        self._knobs = [other for other in self._knobs if other != knob]
        if on:
            self._knobs.append(knob)
        self._write()

    def _write(self) -> None:
        place = self.root / "machine"
        lines = [f"driver {self.driver}", f"epoch {self._epoch}", *(gpu.line() for gpu in self.gpus), *self._knobs]
        fresh = self.root / f"machine.{time.monotonic_ns()}"
        fresh.write_text("".join(f"{line}\n" for line in lines))
        if place.exists():
            if len(self._replaced) == self._replaced.maxlen:
                self._replaced.popleft().close()
            self._replaced.append(place.open())
        fresh.rename(place)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
