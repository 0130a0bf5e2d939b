"""A request becomes a working cluster: what `book` says, what the cluster can do, and that booking again is nothing."""

import json
from pathlib import Path

import pytest

from tests.fakes.bookings import Demo, write_request
from tests.fakes.cli import Cli

pytestmark = pytest.mark.lab

COUNT = """
import ray
ray.init(log_to_driver=False)

@ray.remote(num_gpus=1, num_cpus=0, scheduling_strategy="SPREAD")
class Slot:
    def where(self):
        return ray.util.get_node_ip_address(), sorted(ray.get_gpu_ids())

slots = [Slot.remote() for _ in range(6)]
print("slots", sorted(ray.get([slot.where.remote() for slot in slots])))
print("nodes", len(ray.nodes()), "GPUs", int(ray.cluster_resources()["GPU"]))
"""


def test_booking_again_changes_nothing_and_says_what_there_is_and_what_to_do_next(demo: Demo) -> None:
    held, running = demo.claims(), demo.containers()
    assert (len(held), len(running)) == (6, 6)
    said = demo.book().out
    assert "demo is ACTIVE: 3 hosts, 6 GPUs, worst RTT 3.3ms, 27.20 EUR for 2h" in said
    assert "0 changes" in said
    assert "timelock submit demo -- python -c" in said
    assert "timelock release demo" in said
    assert demo.claims() == held
    assert demo.containers() == running


def test_status_gives_programs_the_whole_plan(demo: Demo) -> None:
    status = demo.status()
    assert (status["v"], status["name"], status["state"]) == (1, "demo", "ACTIVE")
    plan = status["plan"]
    assert len({host["name"] for host in plan["hosts"]}) == 3
    assert len({gpu["uuid"] for host in plan["hosts"] for gpu in host["gpus"]}) == plan["gpu_count"] == 6
    assert plan["image"].partition("@sha256:")[1]
    assert all(host["answers"] and set(host["roles"].values()) <= {"done"} for host in status["hosts"])


def test_a_program_finds_six_gpus_on_three_nodes(demo: Demo) -> None:
    said = demo.submit(COUNT).splitlines()
    assert said[-1] == "nodes 3 GPUs 6"
    slots = eval(said[-2].removeprefix("slots "))
    assert sorted({address for address, _ in slots}) == ["10.88.0.1", "10.88.0.2", "10.88.0.3"]
    assert len({(address, *gpus) for address, gpus in slots}) == 6


@pytest.mark.parametrize("status", [0, 7])
def test_submit_and_ssh_end_with_the_commands_own_code(demo: Demo, status: int) -> None:
    demo.submit(f"import sys; sys.exit({status})", code=status)
    worker = demo.hosts[1]
    ran = demo.timelock("ssh", "demo", "--host", worker, "--", "sh", "-c", f"hostname; exit {status}", code=status)
    assert ran.out == f"{worker}\n"


def test_another_request_under_its_name_is_refused_with_the_difference(demo: Demo, tmp_path: Path) -> None:
    other = write_request(tmp_path, "demo", count=4, hosts=2, price={"max_total": "60 EUR"}, ray={"head_cpus": 1})
    ran = demo.timelock("book", other, "--yes", code=2)
    assert ran.problems[0].startswith("demo: a live booking of this name was made from another request")
    assert ran.problems[1:] == ["gpu.count: 6 → 4", "gpu.hosts: 3 → 2"]
    assert "timelock release demo" in ran.advice


def test_a_dry_run_shows_the_plan_or_what_would_change_and_books_nothing(demo: Demo, tmp_path: Path) -> None:
    assert demo.timelock("book", demo.request, "--dry-run").out.splitlines()[-1] == "0 differences"
    other = write_request(tmp_path, "other", count=2, hosts=1)
    said = demo.timelock("book", other, "--dry-run").out
    assert "1 host, 2 GPUs" in said
    assert demo.spare in said
    assert [booking["name"] for booking in demo.timelock.json("list", "--all")["bookings"]].count("other") == 0


def test_looking_commands_tell_people_and_programs(demo: Demo, timelock: Cli) -> None:
    assert "ACTIVE" in timelock("status", "demo").out
    assert "demo" in timelock("list").out
    events = timelock.json("events", "demo")["events"]
    assert [event["new"] for event in events][:3] == ["REQUESTED", "PLANNED", "CLAIMED"]
    assert len(timelock("events", "demo").out.splitlines()) == len(events)
    logs = [json.loads(line) for line in timelock("logs", "demo", "--host", demo.hosts[1], "--json").out.splitlines()]
    assert {line["host"] for line in logs} == {demo.hosts[1]}
