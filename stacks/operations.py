"""The operations on a stack, in terms of the Automation API: preview, up, refresh, drift, destroy, recover, export.

Each is one start of the CLI. What the CLI says when it fails becomes an error, or failures in the Outcome.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from pulumi.automation import LocalWorkspace
from pulumi.automation.errors import CommandError

from stacks.command import BookingStack, Cli
from stacks.errors import EngineFailed, PassphraseWrong, StackError, StackLocked
from stacks.outcome import Outcome
from stacks.program import program
from stacks.recovery import forget, recover, remove
from stacks.settings import StackPlace
from stacks.spec import BookingSpec
from stacks.state import corrupt, has_pending
from stacks.watch import OnEvent, Watch

PARALLEL_PER_HOST = 8
CAUSE_LIMIT = 2000
OBSERVING = ("drift", "refresh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do. The master of the preshared keys, in hex, comes along and is kept nowhere."""

    operation: str
    refresh: bool
    spec: BookingSpec
    place: StackPlace
    mesh_secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One order being carried out."""

    order: Order
    cli: Cli
    watch: Watch
    stack: BookingStack

    @property
    def parallel(self) -> int:
        return PARALLEL_PER_HOST * max(1, len(self.order.spec.hosts))


def carry_out(order: Order, cli: Cli, on_event: OnEvent) -> Outcome:
    """Carry out the order. Resources that fail are in the Outcome.

    Raises:
        StackError: it could not be carried out at all: wrong passphrase, corrupt state, locked, no CLI.
    """
    order.place.make()
    name, place = order.spec.name, order.place
    workspace = LocalWorkspace(
        work_dir=place.work_dir,
        pulumi_home=place.pulumi_home,
        program=program(order.spec, bytes.fromhex(order.mesh_secret)),
        pulumi_command=cli,
    )
    watch = Watch(on_event, observes=order.operation in OBSERVING)
    work = _Work(order=order, cli=cli, watch=watch, stack=BookingStack(name, workspace))
    try:
        return _begin(work)
    except CommandError as error:
        outcome = work.watch.outcome(interrupted=cli.interrupted, failed=True)
        if cli.interrupted or any(failure.host for failure in outcome.failures):
            return outcome
        raise _translated(error, order) from error


def _begin(work: _Work) -> Outcome:
    operation, place, name = work.order.operation, work.order.place, work.order.spec.name
    state_file = place.state_file(name)
    if state_file is not None and not state_file.exists():
        if operation == "destroy":
            forget(place, name)
        if operation not in ("up", "preview"):
            return Outcome()
        init = ["stack", "init", "--no-select", "--secrets-provider", "passphrase", "--stack", name]
        work.cli.run(init, place.work_dir, {})
    if operation not in ("preview", "drift", "export"):
        recover(work.cli, place, name)
    else:
        has_pending(state_file)  # raises StateCorrupt
    return _OPERATIONS[operation](work)


def _up(work: _Work) -> Outcome:
    work.stack.up(
        parallel=work.parallel,
        refresh=work.order.refresh or None,
        continue_on_error=True,
        on_event=work.watch.hear,
    )
    return work.watch.outcome(interrupted=work.cli.interrupted)


def _preview(work: _Work) -> Outcome:
    work.stack.preview(parallel=work.parallel, on_event=work.watch.hear)
    return work.watch.outcome(interrupted=work.cli.interrupted)


def _refresh(work: _Work) -> Outcome:
    work.stack.refresh(parallel=work.parallel, on_event=work.watch.hear)
    return work.watch.outcome(interrupted=work.cli.interrupted)


def _drift(work: _Work) -> Outcome:
    work.stack.preview_refresh(parallel=work.parallel, on_event=work.watch.hear)
    return work.watch.outcome(interrupted=work.cli.interrupted)


def _destroy(work: _Work) -> Outcome:
    """Once nothing is left on hosts, the stack goes too, with its backups, which hold the booking's secrets."""
    work.stack.destroy(parallel=work.parallel, continue_on_error=True, on_event=work.watch.hear)
    place, name = work.order.place, work.order.spec.name
    if place.backend_dir is not None:
        remove(place, name)
    else:
        work.cli.run(["stack", "rm", "--yes", "--remove-backups", "--stack", name], place.work_dir, {})
    return work.watch.outcome(interrupted=work.cli.interrupted)


def _recover(work: _Work) -> Outcome:
    return work.watch.outcome(interrupted=work.cli.interrupted)


def _export(work: _Work) -> Outcome:
    """Secrets stay encrypted."""
    place, name = work.order.place, work.order.spec.name
    exported = work.cli.run(["stack", "export", "--stack", name], place.work_dir, {})
    return Outcome(outputs=json.loads(exported.stdout))


_OPERATIONS: dict[str, Callable[[_Work], Outcome]] = {
    "up": _up,
    "preview": _preview,
    "refresh": _refresh,
    "drift": _drift,
    "destroy": _destroy,
    "recover": _recover,
    "export": _export,
}


def _translated(error: CommandError, order: Order) -> StackError:
    """What the CLI's words mean (sdk and backend of v3.259.0)."""
    text = str(error)
    stack = order.spec.name
    if "incorrect passphrase" in text or "get stack secrets manager" in text:
        return PassphraseWrong(
            f"stack {stack}: expected {order.place.passphrase_file} to hold its passphrase, found another",
            next_step="put the right passphrase file back from your backup",
        )
    if "currently locked" in text:
        return StackLocked(
            f"stack {stack}: another operation holds it", next_step="wait for it, then resume the booking"
        )
    if "snapshot integrity" in text or "could not deserialize deployment" in text or "load checkpoint" in text:
        return corrupt(order.place.state_file(stack), text[-CAUSE_LIMIT:])
    return EngineFailed(f"stack {stack}: the Pulumi CLI failed: {text[-CAUSE_LIMIT:]}")
