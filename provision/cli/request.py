"""`timelock match` and `timelock book`: from a request file to a Plan, and to a working cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.common import (
    ask,
    desk,
    find_inventory,
    inventory_option,
    json_option,
    print_json,
    read_text,
    yes_option,
)
from provision.cli.view import View, watching

if TYPE_CHECKING:
    from provision.booking.desk import Desk
    from provision.booking.lifecycle import Result
    from provision.matching.model import Plan
    from provision.request.model import Request

request_argument = click.argument("request_file", metavar="REQUEST", type=click.Path(path_type=Path))


@click.command("match")
@request_argument
@inventory_option
@json_option
def match_command(request_file: Path, inventory: Path | None, as_json: bool) -> None:
    """Show the Plan for REQUEST: hosts, price, worst RTT and why the others do not fit. Books nothing."""
    request, _ = _read(request_file)
    with desk() as here:
        plan = _preview(here, request, inventory, as_json)
    _show_plan(plan, as_json)


@click.command("book")
@request_argument
@inventory_option
@click.option("--dry-run", is_flag=True, help="Show the Plan, or what a live booking would change; change nothing.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is ACTIVE, or leave that to `timelock serve`.")
@click.option("--serve/--no-serve", default=True, help="Start the control plane in the background if none runs.")
@yes_option
@json_option
def book_command(
    request_file: Path, inventory: Path | None, dry_run: bool, wait: bool, serve: bool, yes: bool, as_json: bool
) -> int:
    """Book what REQUEST asks for and make it a working Ray cluster. The same request again changes nothing."""
    request, text = _read(request_file)
    with desk() as here:
        if dry_run:
            return _dry_run(here, request, inventory, as_json)
        result = _book(here, request, text, inventory, wait=wait, yes=yes or as_json, as_json=as_json)
        if result is None:
            click.echo("not booked", err=True)
            return 1
        if serve:
            from provision.control.background import ensure_serving

            ensure_serving(here.home)
        _show_booked(here, result, as_json)
    return 0


def _read(request_file: Path) -> tuple[Request, str]:
    from provision.request.parse import parse

    text = read_text(request_file)
    return parse(text, str(request_file)), text


def _preview(here: Desk, request: Request, inventory: Path | None, as_json: bool) -> Plan:
    from provision.booking.operations import preview

    with watching(f"match {request.name}", json=as_json) as view:
        return preview(replace(here, tell=view.tell), request, find_inventory(here.home, inventory))


def _dry_run(here: Desk, request: Request, inventory: Path | None, as_json: bool) -> int:
    """A live booking: what `book` would change, exit 1 if anything; else the Plan."""
    from provision.booking.operations import find_same

    if find_same(here, request) is None:
        _show_plan(_preview(here, request, inventory, as_json), as_json)
        return 0
    from provision.cli.operate import show_drift

    return show_drift(here, request.name, as_json)


def _book(
    here: Desk, request: Request, text: str, inventory: Path | None, *, wait: bool, yes: bool, as_json: bool
) -> Result | None:
    from provision.booking.operations import book, find_same

    found = find_inventory(here.home, inventory) if find_same(here, request) is None else None
    with watching(f"book {request.name}", json=as_json) as view:
        told = replace(here, tell=view.tell)
        return book(told, request, text, found, confirm=lambda plan: _confirm(view, plan, yes, as_json), wait=wait)


def _confirm(view: View, plan: Plan, yes: bool, as_json: bool) -> bool:
    from provision.cli.tables import print_plan

    with view.paused():
        if not as_json:
            print_plan(plan, err=True)
        return yes or ask("Book these hosts?")


def _show_plan(plan: Plan, as_json: bool) -> None:
    from provision.cli.shape import VERSION, plan_shape
    from provision.cli.tables import print_plan

    if as_json:
        print_json({"v": VERSION, "plan": plan_shape(plan)})
    else:
        print_plan(plan)


def _show_booked(here: Desk, result: Result, as_json: bool) -> None:
    from provision.booking.records import plan_of
    from provision.cli.shape import booking_shape
    from provision.cli.tables import print_booked

    plan = plan_of(result.booking)
    if as_json:
        print_json(booking_shape(result.booking, plan, changes=result.changes))
    else:
        print_booked(result.booking, plan, result.changes)
