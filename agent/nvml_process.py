"""The reading process: `python -m agent.nvml_process` answers questions about GPUs until its input ends.

A driver can hang, and a thread that waits in it cannot be ended. So the agent reads through this process, which it can
kill (`agent.nvml_watch`). Nothing is decided and nothing kept here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import BinaryIO

from agent.errors import NvmlUnavailable
from agent.nvml import Nvml
from agent.nvml_protocol import AboutGpu, Answer, NoDriver, OfGpu, Question, Restored, Value, read_question, write_line


def main() -> None:
    """Answer on what was standard output; what a library prints goes to standard error instead."""
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, answers)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer one question after another. The driver is opened at the first, and tried again while it is not there."""
    nvml: Nvml | None = None
    for line in questions:
        question = read_question(line)
        try:
            nvml = nvml or Nvml.open()
        except NvmlUnavailable as error:
            no_driver = NoDriver(number=question.number, why=error.message, next_step=error.next_step)
            answers.write(write_line(no_driver))
            continue
        answers.write(write_line(answer(nvml, question)))
    if nvml is not None:
        nvml.close()


def answer(nvml: Nvml, question: Question) -> Answer:
    """Read what is asked for."""
    began_at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    gpus = nvml.gpus() if question.source == "gpus" else None
    values = tuple(
        OfGpu(uuid=about.uuid, value=OF_ONE_GPU[question.source](nvml, about))
        for about in question.about
        if gpus is None
    )
    return Answer(
        number=question.number,
        began_at_ns=began_at_ns,
        ended_at_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        gpus=gpus,
        values=values,
    )


def _restore(nvml: Nvml, about: AboutGpu) -> Value:
    refused = None if about.past is None else nvml.restore_accounting(about.uuid, about.past)
    return refused or Restored(uuid=about.uuid)


OF_ONE_GPU: dict[str, Callable[[Nvml, AboutGpu], Value]] = {
    "processes": lambda nvml, about: nvml.processes(about.uuid),
    "utilisation": lambda nvml, about: nvml.utilisation(about.uuid, about.since_us),
    "accounting": lambda nvml, about: nvml.accounting(about.uuid, about.past),
    "whole": lambda nvml, about: nvml.whole(about.uuid),
    "restore": _restore,
}


if __name__ == "__main__":
    main()
