"""The booking's stack: its spec is filled from the Plan, and every operation on it goes through here."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from provision.booking.kept import read_numbers, read_text
from provision.booking.progress import HostStep, Phase, Progress
from provision.booking.records import plan_of
from provision.booking.secrets import write_private
from provision.booking.survey import connection_to, pin_host_keys
from provision.booking.workers import WORKER_ARGV
from provision.errors import Interrupted, Locked, MachineCannot

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.model import Booking
    from provision.home import BookingPlace, Home
    from provision.matching.model import Plan, PlannedHost
    from stacks.engine import StackPlace
    from stacks.outcome import Event, Outcome
    from stacks.spec import BookingSpec, HostSpec

DEPLOYS = Path(__file__).parent.parent / "deploys"
PAUSE_IMAGE = "timelock/pause:1"
FROM_BACKUP = "put it back from your backup, then run the command again"
RENUMBER = "delete it, then run the command again: hosts are numbered anew, and `timelock resume` tells all of them"


def run_stack(desk: Desk, booking: Booking, kind: str) -> Outcome:
    """Run one operation ('up', 'drift', 'destroy') on the booking's stack and tell what happens.

    Raises:
        Interrupted: it was stopped on request; the state is kept.
        MachineCannot: wrong passphrase, damaged state, or Pulumi cannot work here.
        Locked: another operation on the stack is still alive.
    """
    from stacks.engine import operate
    from stacks.errors import StackError, StackLocked

    place, plan = desk.place(booking.name), plan_of(booking)
    pin_host_keys((planned.host for planned in plan.hosts), place.known_hosts)
    try:
        outcome = operate(
            kind,
            spec_of(booking, plan, place),
            stack_place(desk.home, place),
            on_event=lambda event: _tell(desk, event, looking=kind == "drift"),
        )
    except StackLocked as error:
        raise Locked(error.message, next_step=error.next_step) from error
    except StackError as error:
        raise MachineCannot(f"{booking.name}: {error.message}", next_step=error.next_step) from error
    if outcome.interrupted:
        raise Interrupted(
            f"{booking.name}: interrupted; what was done so far is kept",
            next_step=f"`timelock resume {booking.name}` goes on, `timelock release {booking.name}` undoes it",
        )
    return outcome


def state_is_there(desk: Desk, booking: Booking) -> bool:
    """Whether the state of the booking's stack is where it should be; a backend that is no directory is believed."""
    file = stack_place(desk.home, desk.place(booking.name)).state_file(booking.name)
    return file is None or file.exists()


def spec_of(booking: Booking, plan: Plan, place: BookingPlace) -> BookingSpec:
    """What the stack is told of the Plan."""
    from stacks.spec import BookingSpec, Registry

    indices = mesh_indices(place, plan)
    registry_address = plan.image.split("/", 1)[0]
    ca_pem = read_text(place.registry_ca, "the registry's CA", FROM_BACKUP) if place.registry_ca.exists() else None
    return BookingSpec(
        name=booking.name,
        slot=booking.slot,
        hosts=tuple(_host(planned, place, indices[planned.host.name]) for planned in plan.hosts),
        head=plan.hosts[0].host.name,
        image=plan.image,
        pause_image=read_text(place.pause_image, "the pause image's digest", FROM_BACKUP).strip(),
        registry=Registry(address=registry_address, ca_pem=ca_pem),
        head_cpus=_head_cpus(booking),
        code_version=code_version(),
    )


def stack_place(home: Home, place: BookingPlace) -> StackPlace:
    """Where the stack of a booking lives, and the commands it needs."""
    from stacks.engine import StackPlace, find_pulumi

    return StackPlace(
        work_dir=str(place.pulumi),
        backend_url=home.pulumi_backend_url,
        pulumi_home=str(home.pulumi_home),
        passphrase_file=str(place.passphrase),
        mesh_secret_file=str(place.mesh_secret),
        journal=str(place.journal),
        worker=WORKER_ARGV,
        pulumi=str(find_pulumi(home.tools)),
    )


def mesh_indices(place: BookingPlace, plan: Plan) -> dict[str, int]:
    """The number of each host in the mesh: kept while it stays, so that replacing one host moves no other's address."""
    kept = place.mesh_indices
    known = read_numbers(kept, "the hosts' numbers in the mesh", RENUMBER) if kept.exists() else {}
    names = [planned.host.name for planned in plan.hosts]
    found = {name: known[name] for name in names if name in known}
    free = (index for index in range(1, len(names) + len(known) + 1) if index not in known.values())
    for name in names:
        if name not in found:
            found[name] = next(free)
    if found != known:
        write_private(kept, json.dumps(found))
    return found


@cache
def code_version() -> str:
    """A digest of the deploys' code: another one makes the stack look at every host again."""
    digest = hashlib.sha256()
    for path in sorted(DEPLOYS.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(DEPLOYS)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _host(planned: PlannedHost, place: BookingPlace, index: int) -> HostSpec:
    from stacks.spec import GpuSpec, HostSpec

    host = planned.host
    return HostSpec(
        name=host.name,
        connection=connection_to(host, place.known_hosts),
        address=host.address,
        gpus=tuple(GpuSpec(uuid=gpu.uuid, index=gpu.index, device=gpu.device) for gpu in planned.gpus),
        cpus=host.cpus,
        memory_bytes=host.memory_bytes,
        mesh_index=index,
        management=tuple(host.management),
    )


def _head_cpus(booking: Booking) -> int:
    from provision.request.parse import parse

    return parse(booking.request_text, "accepted request").ray.head_cpus


def progress_of(event: Event, *, looking: bool) -> Progress | None:
    """What an event of the engine is to a person; who only looks has updated nothing, though Pulumi words it so."""
    from stacks.outcome import CHANGING

    if event.kind == "note":
        return Phase(name="note", detail=event.text)
    if not event.host:
        return None
    if looking and event.text in CHANGING and event.state != "failed":
        return HostStep(host=event.host, role=event.role, step="", state="differs")
    return HostStep(host=event.host, role=event.role, step=event.text, state=event.state)


def _tell(desk: Desk, event: Event, *, looking: bool) -> None:
    progress = progress_of(event, looking=looking)
    if progress:
        desk.tell(progress)
