"""`timelock-agent`: what a person runs on a host. Parses, calls, prints; exit codes are those of DESIGN §12."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TypeVar

from agent import driver_lines
from agent.errors import AgentError, InvalidSetting, NvmlUnavailable
from agent.gate import lines
from agent.gate.device import DeviceRange
from agent.gate.event import FOREVER_NS, Counter, Mode, Settings
from agent.gate.gate import Gate, GateConfig, now_ns
from agent.gate.hold import Holder, to_be_confirmed
from agent.nvml_sources import NvmlSources, Reading
from agent.nvml_watch import Down, NvmlWatch
from agent.readings import Gpus, Processes, Unavailable, Whole

COULD_NOT_TELL = 3
INTERRUPTED = 130

TURN_SECONDS = 0.5

Said = TypeVar("Said", Gpus, Reading[Processes], Reading[Whole])

EPILOG = """\
exit codes: 0 watched to the end; 2 usage; 3 could not tell: events were lost, or the gate was taken off; \
6 another process reads the gate of that name; 8 this machine cannot; 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        return code
    except AgentError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.next_step:
            print(f"next: {error.next_step}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # who read us has gone: nothing more to say, and nowhere to say it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="timelock-agent", description="The guard of a supplier's host.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    gpus = commands.add_parser("gpus", help="what the driver says of each GPU, and who uses it")
    gpus.add_argument("--json", action="store_true", help="one JSON document")
    gpus.set_defaults(run=_gpus)
    gate = commands.add_parser("gate", help="see, and refuse, openings of GPU devices as they happen", epilog=EPILOG)
    add = gate.add_argument
    add("--device", action="append", required=True, metavar="RANGE", help="195:*, 195:0 or 195:0-195:7; repeatable")
    modes = [mode.name.lower() for mode in Mode]
    add("--mode", choices=modes, default="deny", help="what happens to who is not allowed; %(default)s unless given")
    add("--allow", action="append", default=[], type=Path, metavar="CGROUP", help="let in this group and all below it")
    add("--cgroup", type=Path, help="stand at this group instead of the root: sees only what is in it")
    add("--hold", action="store_true", help="in observe: stop each opener a moment to see whether it has the device")
    add("--seconds", type=float, help="end after this time, otherwise at Ctrl-C")
    add("--name", default="", help="pin the gate: killed, it stands until --seconds are over, and is taken over again")
    add("--json", action="store_true", help="one JSON object a line")
    gate.set_defaults(run=_gate)
    return parser


def _gate(arguments: argparse.Namespace) -> int:
    watch = _Watch.of(arguments)
    with _ending() as ended, contextlib.ExitStack() as stack:
        gate = Gate.open(watch.config)
        stack.callback(gate.close, detach=True)
        holder = stack.enter_context(Holder(gate, watch.config.devices)) if watch.hold else None
        watch.say(lines.standing(gate.health(), adopted=gate.adopted))
        while not ended and (left_ns := watch.end_ns - now_ns()) > 0:
            _tell(watch, gate, holder, min(left_ns / 1e9, TURN_SECONDS))
        _tell_last(watch, gate, holder)
        for seen in gate.tallies():
            if seen.openings > 1:
                watch.say(lines.tally(seen, gate.path_of(seen.opening.cgroup_id)))
        health = gate.health()
        watch.say(lines.summary(health))
    if health.counters[Counter.LOST] or not health.attached:
        return COULD_NOT_TELL
    return INTERRUPTED if ended else 0


def _gpus(arguments: argparse.Namespace) -> int:
    with contextlib.closing(NvmlWatch()) as watch:
        sources = NvmlSources(watch)
        found = _there(sources.gpus())
        uuids = [gpu.uuid for gpu in found.known]
        processes, whole = _there(sources.processes(uuids)), _there(sources.whole(uuids))
    if arguments.json:
        print(json.dumps(driver_lines.document(found, processes, whole)))
    else:
        print("\n".join(driver_lines.lines(found, processes, whole)))
    return 0


def _there(said: Said | Unavailable | Down) -> Said:
    """Return what a source said; raise where it said nothing."""
    if isinstance(said, Down):
        raise NvmlUnavailable(said.reason, next_step=said.next_step)
    if isinstance(said, Unavailable):
        raise NvmlUnavailable(
            f"{said.function}: {said.reason}", next_step="see what the driver does: nvidia-smi, dmesg"
        )
    return said


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """What was asked for."""

    config: GateConfig
    end_ns: int
    hold: bool
    json: bool

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> _Watch:
        mode = Mode[arguments.mode.upper()]
        seconds: float | None = arguments.seconds
        if seconds is None and arguments.name:
            raise InvalidSetting("--name: expected --seconds too: a gate that may outlive us needs an end")
        if arguments.hold and mode is not Mode.OBSERVE:
            raise InvalidSetting("--hold: expected --mode observe: who is refused need not be held")
        if seconds is not None and not 0 < seconds < 1e9:
            raise InvalidSetting(f"--seconds: expected a time, found {seconds}")
        end_ns = now_ns() + int(seconds * 1e9) if seconds is not None else FOREVER_NS
        config = GateConfig(
            devices=tuple(map(DeviceRange.parse, arguments.device)),
            settings=Settings(mode=mode, lease_until_ns=end_ns),
            allowed=tuple(arguments.allow),
            cgroup=arguments.cgroup,
            name=arguments.name,
        )
        return cls(config=config, end_ns=end_ns, hold=arguments.hold, json=arguments.json)

    def say(self, described: Mapping[str, lines.Value]) -> None:
        print(json.dumps(described) if self.json else lines.text(described), flush=True)


def _tell(watch: _Watch, gate: Gate, holder: Holder | None, patience_seconds: float) -> None:
    """Wait a moment for something to come, and tell it."""
    if holder:
        holder.arm()
        patience_seconds = min(patience_seconds, holder.pause_seconds)
    gate.wait(patience_seconds)
    for event in gate.events():
        watch.say(lines.opening(event, gate.path_of(event.opening.cgroup_id), event.at_ns + _wall_minus_boot_ns()))
        if holder and to_be_confirmed(event):
            holder.take(event)
    for seen in holder.step() if holder else ():
        watch.say(lines.confirmation(seen))


def _tell_last(watch: _Watch, gate: Gate, holder: Holder | None) -> None:
    """Tell what came at the end, and answer for those who still stand."""
    _tell(watch, gate, holder, 0)
    if holder:
        holder.disarm()
        while holder.pending:
            gate.wait(holder.pause_seconds)
            for seen in holder.step():
                watch.say(lines.confirmation(seen))


def _wall_minus_boot_ns() -> int:
    return time.time_ns() - now_ns()


@contextlib.contextmanager
def _ending() -> Iterator[list[int]]:
    """Give a list that is no longer empty once the process was asked to end."""
    asked: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
