"""The gate's program: a pure function from devices and maps to instructions of type BPF_PROG_TYPE_CGROUP_DEVICE.

The kernel runs it in the opener's own context, before the driver's `open` (devcgroup_check_permission,
security/device_cgroup.c), for every group at or below the one it is attached to. It returns 1 to let the opening
through and 0 for EPERM. What it is told and what it tells lies in maps, laid out by `agent.gate.event`.

    device? → lease? → who → since when → listed? → verdict → count → merge? → hold? → tell → kill? → 1 or 0

Registers kept over calls: R6 hold?, R7 tally or 0, R8 now, R9 verdict, then the place in the ring.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable

from agent.gate.asm import Arithmetic, Condition, Instruction, Register, Size
from agent.gate.device import DeviceRange
from agent.gate.event import COMM_BYTES, EVENT, Access, At, Counter, Flag, Mode, Setting, Verdict
from agent.gate.frame import FRAME_EVENT, FRAME_SCRATCH, NO_EXIST, Features, Frame, Helper, Maps, Task

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register
WORD, DOUBLE = Size.WORD, Size.DOUBLE

# A listed group is looked for among the caller's ancestors down to this level, the root being 0.
MAX_LEVEL = 16

CHARACTER_DEVICE = 2  # BPF_DEVCG_DEV_CHAR


def build(devices: Iterable[DeviceRange], maps: Maps, features: Features) -> tuple[Instruction, ...]:
    """Give the gate's program for these devices; without signals it neither holds nor kills, but still refuses."""
    program = _Program(maps)
    program.match(tuple(devices))
    program.identify()
    program.date(features.task)
    program.search_list()
    program.judge()
    program.tally()
    program.tell(signals=features.signals)
    program.enforce(signals=features.signals)
    return program.assemble()


class _Program(Frame):
    """The gate's program, step by step, in the order of the module's picture."""

    def match(self, devices: tuple[DeviceRange, ...]) -> None:
        """Let through at once what is not one of the devices. Context: struct bpf_cgroup_dev_ctx."""
        self.load(WORD, R7, R1, 0)  # access_type: access << 16 | type of device
        self.load(WORD, R8, R1, 4)
        self.load(WORD, R9, R1, 8)
        self.move(R1, R7)
        self.compute(Arithmetic.AND, R1, 0xFFFF)
        self.jump_if(Condition.NOT_EQUAL, R1, CHARACTER_DEVICE, "pass")
        for number, device in enumerate(devices):
            self.jump_if(Condition.NOT_EQUAL, R8, device.major, f"not-{number}")
            self.jump_if(Condition.LESS, R9, device.first, f"not-{number}")
            self.jump_if(Condition.AT_MOST, R9, device.last, "matched")
            self.label(f"not-{number}")
        self.jump("pass")
        self.label("matched")
        self.compute(Arithmetic.SHIFT_RIGHT, R7, 16)
        self.put(WORD, At.ACCESS, R7)
        self.put(WORD, At.MAJOR, R8)
        self.put(WORD, At.MINOR, R9)

    def identify(self) -> None:
        """Check the lease, then note when and who: ids are of the initial namespaces, whoever asks."""
        self.call(Helper.KTIME_GET_BOOT_NS)
        self.move(R8, R0)
        self.get_setting(R1, Setting.LEASE_UNTIL_NS)
        self.jump_if(Condition.AT_LEAST, R8, R1, "expired")
        self.put(DOUBLE, At.AT_NS, R8)
        self.call(Helper.GET_CURRENT_PID_TGID)
        self.put(WORD, At.TID, R0)
        self.compute(Arithmetic.SHIFT_RIGHT, R0, 32)
        self.put(WORD, At.TGID, R0)
        self.call(Helper.GET_CURRENT_UID_GID)
        self.put(WORD, At.UID, R0)
        self.call(Helper.GET_CURRENT_CGROUP_ID)
        self.put(DOUBLE, At.CGROUP_ID, R0)
        self.point(R1, FRAME_EVENT + At.COMM)
        self.move(R2, COMM_BYTES)
        self.call(Helper.GET_CURRENT_COMM)
        for size, field, value in ((WORD, At.PADDING, 0), (WORD, At.FLAGS, 0), (DOUBLE, At.OPENINGS, 1)):
            self.put(size, field, value)

    def date(self, task: Task | None) -> None:
        """Note when the process began, as /proc/PID/stat tells it: by its first thread. Pids come again, this does not.

        The verifier knows the type of what the helper gives and checks each load; a fault would read as 0.
        """
        if task is None:
            self.put(DOUBLE, At.STARTED_NS, 0)
            return
        self.call(Helper.GET_CURRENT_TASK_BTF)
        self.load(DOUBLE, R1, R0, task.group_leader)
        self.load(DOUBLE, R1, R1, task.start_boottime)
        self.put(DOUBLE, At.STARTED_NS, R1)

    def search_list(self) -> None:
        """Look for the caller's group and its ancestors among the allowed; R0 is not 0 if one is.

        The helper gives the caller's own group at its own level and 0 below it. The root (level 0) cannot be listed.
        """
        self.move(R6, 1)
        self.label("level")
        self.move(R1, R6)
        self.call(Helper.GET_CURRENT_ANCESTOR_CGROUP_ID)
        self.put(DOUBLE, At.LISTED_ID, R0)
        self.jump_if(Condition.EQUAL, R0, 0, "searched")
        self.call_map(Helper.MAP_LOOKUP, self.maps.allowed, key=FRAME_EVENT + At.LISTED_ID)
        self.jump_if(Condition.NOT_EQUAL, R0, 0, "searched")
        self.compute(Arithmetic.ADD, R6, 1)
        self.jump_if(Condition.AT_MOST, R6, MAX_LEVEL, "level")
        self.put(DOUBLE, At.LISTED_ID, 0)
        self.label("searched")

    def judge(self) -> None:
        """Set R9 to the verdict and count it."""
        self.move(R6, R0)
        self.get_setting(R7, Setting.MODE)
        self.put(WORD, At.MODE, R7)
        self.move(R9, Verdict.REFUSED)
        self.call(Helper.GET_RETVAL)
        self.jump_if(Condition.NOT_EQUAL, R0, 0, "judged")
        self.move(R9, Verdict.ALLOWED)
        self.jump_if(Condition.NOT_EQUAL, R6, 0, "judged")
        self.move(R9, Verdict.OBSERVED)
        self.jump_if(Condition.EQUAL, R7, Mode.OBSERVE, "judged")
        self.move(R9, Verdict.STOPPED)
        self.label("judged")
        self.put(WORD, At.VERDICT, R9)
        for verdict in Verdict:  # the verifier follows constants, not sums: one address for each
            self.jump_if(Condition.NOT_EQUAL, R9, verdict, f"not-{verdict.name}")
            self.count(Counter[verdict.name])
            self.label(f"not-{verdict.name}")

    def tally(self) -> None:
        """Merge what the same opener did a moment ago: R7 is its tally, or 0. What is to be held is never merged."""
        self._decide_hold()
        self._find_tally()
        self.move(R7, R0)
        self.jump_if(Condition.EQUAL, R7, 0, "untallied")
        self.move(R1, 1)
        self.fetch_add(R7, 0, R1)
        self.compute(Arithmetic.ADD, R1, 1)
        self.put(DOUBLE, At.OPENINGS, R1)
        self.jump_if(Condition.NOT_EQUAL, R6, 0, "tallied")
        self.load(DOUBLE, R2, R7, 8)
        self.jump_if(Condition.EQUAL, R2, 0, "tallied")  # none was told yet, or the last was lost
        self.move(R3, R8)
        self.compute(Arithmetic.SUBTRACT, R3, R2)
        self.get_setting(R1, Setting.MERGE_NS)
        self.jump_if(Condition.LESS, R3, R1, "merged")
        self.label("tallied")
        self.store(DOUBLE, R7, 8, R8)
        self.jump("tell")
        self.label("untallied")
        self.count(Counter.UNTALLIED)

    def tell(self, *, signals: bool) -> None:
        """Put the event into the ring, and stop its opener if it is to be held."""
        self.label("tell")
        self.move(R1, 1)
        self.map_value(R2, self.maps.counters, 8 * Counter.EMITTED)
        self.fetch_add(R2, 0, R1)
        self.put(DOUBLE, At.SEQUENCE, R1)
        self.map(R1, self.maps.ring)
        self.move(R2, EVENT.size)
        self.move(R3, 0)
        self.call(Helper.RINGBUF_RESERVE)
        self.jump_if(Condition.EQUAL, R0, 0, "lost")
        self.move(R9, R0)
        if signals:
            self._hold()
        for offset in range(0, EVENT.size, 8):
            self.load(DOUBLE, R1, R10, FRAME_EVENT + offset)
            self.store(DOUBLE, R9, offset, R1)
        self.move(R1, R9)
        self.move(R2, 0)
        self.call(Helper.RINGBUF_SUBMIT)
        self.jump("act")
        self.label("lost")  # the next of the same opener tells it, as soon as there is room
        self.count(Counter.LOST)
        self.jump_if(Condition.EQUAL, R7, 0, "act")
        self.store(DOUBLE, R7, 8, 0)
        self.jump("act")
        self.label("merged")
        self.count(Counter.MERGED)

    def enforce(self, *, signals: bool) -> None:
        """Return 0 if the verdict is STOPPED. A kill refuses too: else a sharer of the table keeps the descriptor."""
        self.label("act")
        self.get(WORD, R1, At.VERDICT)
        self.jump_if(Condition.NOT_EQUAL, R1, Verdict.STOPPED, "pass")
        if signals:
            self.get(WORD, R1, At.MODE)
            self.jump_if(Condition.NOT_EQUAL, R1, Mode.KILL, "refuse")
            self.move(R1, signal.SIGKILL)
            self._signal_and_count(Counter.KILLED, Counter.UNKILLED, then="refuse")
        self.label("refuse")
        self.move(R0, 0)
        self.exit()
        self.label("expired")
        self.count(Counter.EXPIRED)
        self.label("pass")
        self.move(R0, 1)
        self.exit()

    def _decide_hold(self) -> None:
        """Set R6 to 1 if the opener is to be held: let through, not listed, more than a mknod, and holding is armed."""
        self.move(R6, 0)
        self.jump_if(Condition.NOT_EQUAL, R9, Verdict.OBSERVED, "decided")
        self.get(WORD, R1, At.ACCESS)
        self.compute(Arithmetic.AND, R1, Access.READ | Access.WRITE)
        self.jump_if(Condition.EQUAL, R1, 0, "decided")
        self.get_setting(R1, Setting.HOLD_UNTIL_NS)
        self.jump_if(Condition.AT_LEAST, R8, R1, "decided")
        self.move(R6, 1)
        self.label("decided")

    def _find_tally(self) -> None:
        """Set R0 to the tally of this identity, made if there was none; 0 if the table has no room."""
        self.call_map(Helper.MAP_LOOKUP, self.maps.tallies, key=FRAME_EVENT)
        self.jump_if(Condition.NOT_EQUAL, R0, 0, "found")
        self.store(DOUBLE, R10, FRAME_SCRATCH, 0)
        self.store(DOUBLE, R10, FRAME_SCRATCH + 8, 0)
        # Two threads may come here at once: the second finds the first's entry and leaves it as it is.
        self.call_map(Helper.MAP_UPDATE, self.maps.tallies, key=FRAME_EVENT, value=FRAME_SCRATCH, flags=NO_EXIST)
        self.call_map(Helper.MAP_LOOKUP, self.maps.tallies, key=FRAME_EVENT)
        self.label("found")

    def _hold(self) -> None:
        """Note the hold first, then stop the opener, so that a watchdog knows of everybody who stands still.

        The signal takes effect when the task leaves the kernel: the opening ends first, and the descriptor is there.
        """
        self.jump_if(Condition.EQUAL, R6, 0, "held")
        self.store(DOUBLE, R10, FRAME_SCRATCH, R8)
        for offset, field in ((8, At.TGID), (12, At.TID)):
            self.get(WORD, R1, field)
            self.store(WORD, R10, FRAME_SCRATCH + offset, R1)
        key = FRAME_EVENT + At.SEQUENCE
        self.call_map(Helper.MAP_UPDATE, self.maps.held, key=key, value=FRAME_SCRATCH, flags=NO_EXIST)
        self.jump_if(Condition.NOT_EQUAL, R0, 0, "unheld")
        self.put(WORD, At.FLAGS, Flag.HELD)
        self.move(R1, signal.SIGSTOP)
        self.call(Helper.SEND_SIGNAL)
        self.jump_if(Condition.EQUAL, R0, 0, "stopped")
        self.put(WORD, At.FLAGS, 0)
        self.call_map(Helper.MAP_DELETE, self.maps.held, key=key)
        self.label("unheld")
        self.count(Counter.UNHELD)
        self.jump("held")
        self.label("stopped")
        self.count(Counter.HELD)
        self.label("held")

    def _signal_and_count(self, done: Counter, failed: Counter, *, then: str) -> None:
        self.call(Helper.SEND_SIGNAL)
        self.jump_if(Condition.NOT_EQUAL, R0, 0, failed.name)
        self.count(done)
        self.jump(then)
        self.label(failed.name)
        self.count(failed)
