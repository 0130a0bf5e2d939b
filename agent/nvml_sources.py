"""S2, S3 and S4 as the agent takes them: GPUs by UUID, what is remembered between readings, and down when they are.

The reading process may change between two readings; cursors and the past of accounting are kept here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent.nvml_protocol import AboutGpu, Answer, Question, Restored, Source
from agent.nvml_watch import Down, NvmlWatch
from agent.readings import Accounting, AccountingPast, Gpus, Processes, Unavailable, Utilisation, Whole

Value = TypeVar("Value", Processes, Utilisation, Accounting, Whole, Restored)
NOTHING_SAID = "NO_ANSWER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[Value]):
    """What was read of each GPU that was asked about, between two instants of CLOCK_BOOTTIME."""

    began_at_ns: int
    ended_at_ns: int
    of: Mapping[str, Value | Unavailable]


class NvmlSources:
    """The driver's sources for one agent. `pasts` is what to keep on disk: a later agent goes on from there."""

    def __init__(self, watch: NvmlWatch, pasts: Mapping[str, AccountingPast] | None = None) -> None:
        self._watch = watch
        self._numbers = itertools.count(1)
        self._cursors: dict[str, int] = {}
        self.pasts: dict[str, AccountingPast] = dict(pasts or {})

    def gpus(self) -> Gpus | Unavailable | Down:
        """All GPUs of the host."""
        answer = self._ask("gpus", ())
        if isinstance(answer, Down):
            return answer
        return answer.gpus or Unavailable(reason=NOTHING_SAID, function="gpus")

    def processes(self, uuids: Iterable[str]) -> Reading[Processes] | Down:
        """S2."""
        return self._read("processes", uuids, Processes)

    def utilisation(self, uuids: Iterable[str]) -> Reading[Utilisation] | Down:
        """S3: since the last time it was read."""
        reading = self._read("utilisation", uuids, Utilisation)
        if isinstance(reading, Reading):
            new = {uuid: value.cursor_us for uuid, value in reading.of.items() if isinstance(value, Utilisation)}
            self._cursors.update(new)
        return reading

    def accounting(self, uuids: Iterable[str]) -> Reading[Accounting] | Down:
        """S4; switched on where it is off, until `close`."""
        reading = self._read("accounting", uuids, Accounting)
        if isinstance(reading, Reading):
            self.pasts.update({uuid: value.past for uuid, value in reading.of.items() if isinstance(value, Accounting)})
        return reading

    def whole(self, uuids: Iterable[str]) -> Reading[Whole] | Down:
        """S7's share of the driver."""
        return self._read("whole", uuids, Whole)

    def close(self) -> Reading[Restored] | Down:
        """Put accounting back as it was found, and end the reading process. Says what could not be put back."""
        reading = self._read("restore", tuple(self.pasts), Restored)
        self._watch.close()
        return reading

    def _read(self, source: Source, uuids: Iterable[str], kind: type[Value]) -> Reading[Value] | Down:
        asked = tuple(uuids)
        answer = self._ask(source, asked)
        if isinstance(answer, Down):
            return answer
        said = {one.uuid: one.value for one in answer.values}
        of: dict[str, Value | Unavailable] = {}
        for uuid in asked:
            value = said.get(uuid)
            nothing = Unavailable(reason=NOTHING_SAID, function=source)
            of[uuid] = value if isinstance(value, kind | Unavailable) else nothing
        return Reading(began_at_ns=answer.began_at_ns, ended_at_ns=answer.ended_at_ns, of=of)

    def _ask(self, source: Source, uuids: tuple[str, ...]) -> Answer | Down:
        about = tuple(
            AboutGpu(
                uuid=uuid,
                since_us=self._cursors.get(uuid, 0) if source == "utilisation" else 0,
                past=self.pasts.get(uuid) if source in ("accounting", "restore") else None,
            )
            for uuid in uuids
        )
        return self._watch.ask(Question(number=next(self._numbers), source=source, about=about))
