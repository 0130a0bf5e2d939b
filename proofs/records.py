"""What an agent writes down, one canonical JSON line a record; docs/evidence-format.md tells each kind in words.

`at_ns` is CLOCK_BOOTTIME of the host: it grows through suspends and steps of the wall clock, and begins anew with each
boot. Names of processes, arguments and environments are never recorded.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from proofs import typed
from proofs.errors import Flaw
from proofs.statement import Count, Digest, Name, Nanoseconds, Nonce, Text

MAX_LINE_BYTES = 64 * 1024
Cgroup: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a record."""


class Actor(Part, frozen=True):
    """A process, by what cannot be given to another one: pid and start (clock ticks since boot) within a boot.

    `cgroup` is what the kernel said when it acted; absent where that could not be found out.
    """

    pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    start: Count
    cgroup: Cgroup | None = None


class Record(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    """Base of all records."""

    at_ns: Nanoseconds


class Boot(Record, frozen=True, tag="boot"):
    """The agent began to write, in this boot; `resumed` when the chain was begun by an earlier run of it."""

    boot_id: Nonce
    agent: Digest
    kernel: Text
    resumed: bool = False


class Bind(Record, frozen=True, tag="bind"):
    """Which control groups mean what from now on. `booked` is the root of the booked container's."""

    booked: Cgroup
    agent: Cgroup
    infrastructure: tuple[Cgroup, ...] = ()


class Group(Record, frozen=True, tag="group"):
    """A control group seen for the first time, and the one it lies in; absent for the root of the hierarchy."""

    id: Cgroup
    parent: Cgroup | None = None


class Gate(Record, frozen=True, tag="gate"):
    """The gate is in place: the same link and program, this mode, so many events lost since it was attached."""

    link: Count
    program: Count
    mode: str
    lost: Count


class Opened(Record, frozen=True, tag="opened"):
    """Somebody opened a GPU's device. `stopped` when the kernel refused; `times` when one line stands for several."""

    gpu: Text
    actor: Actor
    stopped: bool
    times: Annotated[int, msgspec.Meta(ge=1, le=2**53)] = 1


class Held(Record, frozen=True, tag="held"):
    """A foreign opener was held still and looked at: it had the descriptor or a mapping, or it had let go."""

    gpu: Text
    actor: Actor
    present: bool


class Holding(Part, frozen=True):
    """A process that has a GPU's device open, or mapped."""

    gpu: Text
    actor: Actor


class Scan(Record, frozen=True, tag="scan"):
    """All descriptors and mappings of all processes were looked at, from `begun_ns` to `at_ns`."""

    begun_ns: Nanoseconds
    holding: tuple[Holding, ...] = ()


class Row(Part, frozen=True):
    """A process in the driver's lists. `memory_bytes` is absent where the driver does not tell."""

    actor: Actor
    memory_bytes: Count | None = None


class Driver(Record, frozen=True, tag="driver"):
    """What the driver says of a GPU, read from `begun_ns` to `at_ns`. Another `epoch`: the driver was loaded anew."""

    gpu: Text
    begun_ns: Nanoseconds
    epoch: Count
    rows: tuple[Row, ...] = ()
    busy: tuple[Row, ...] = ()
    memory_used_bytes: Count | None = None
    energy_millijoules: Count | None = None


class Accounting(Record, frozen=True, tag="accounting"):
    """Processes that the driver remembers although they may be gone. `full` when its ring may have overflowed."""

    gpu: Text
    epoch: Count
    rows: tuple[Row, ...] = ()
    full: bool = False


class Container(Record, frozen=True, tag="container"):
    """An engine was told to do something with a container that asks for a GPU, or with the booked one.

    `container` is a salted digest, `cgroup` that of the container if it has one by now.
    """

    action: Name
    container: Digest
    gpus: tuple[Text, ...] = ()
    actor: Actor | None = None
    booked: bool = False
    receipt: Digest | None = None
    refused: bool = False


class Watch(Record, frozen=True, tag="watch"):
    """A source of events is heard without a break: the same connection, so many events lost on it."""

    source: Name
    connection: Count
    lost: Count


class Entered(Record, frozen=True, tag="entered"):
    """A process came into the booked control group from outside: it is of another pid namespace."""

    actor: Actor


class Canary(Record, frozen=True, tag="canary"):
    """The agent opened a device by itself to see whether the gate sees it."""

    gpu: Text
    seen: bool


class Down(Record, frozen=True, tag="down"):
    """A source cannot be read, and why. Its next good record says that it can again."""

    source: Name
    reason: Text


_OfHost: TypeAlias = Boot | Bind | Group | Gate | Watch | Canary | Down
_OfSomebody: TypeAlias = Opened | Held | Scan | Driver | Accounting | Container | Entered
AnyRecord: TypeAlias = _OfHost | _OfSomebody


def encode(record: Record) -> bytes:
    """Return the one line of a record, without the newline."""
    return typed.encode(record)


def decode(line: bytes, where: str) -> AnyRecord:
    """Return the record of which `line` is the one form.

    Raises:
        Rejected: RECORD for another shape, ENCODING for another form of it, SIZE for a line that is too long.
    """
    record: AnyRecord = typed.decode(line, AnyRecord, where, flaw=Flaw.RECORD, limit_bytes=MAX_LINE_BYTES)
    return record
