"""What the hosts said when they were tried, judged: each fault on the host that has it."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from provision.booking.trial import MARK, Findings, Member, Trial, judge

MEMBERS = tuple(
    Member(
        name=f"lab-a{n}",
        address=f"192.0.2.{n}",
        mesh_address=f"10.88.0.{n}",
        gpus=(f"GPU-{n}a", f"GPU-{n}b"),
        cpus=n,
        ssh_port=22,
        udp_ports=(51820,),
    )
    for n in (1, 2, 3)
)
TRIAL = Trial(booking="demo", members=MEMBERS)
LISTENS = "listens tcp 0.0.0.0:22\nlistens tcp [::]:22\nlistens udp *:51820\nlistens udp 127.0.0.1:323\n"


def told(nodes: list[tuple[str, int, int]] | None = None, slots: list[tuple[str, str]] | None = None) -> str:
    whole = [(member.mesh_address, member.cpus, len(member.gpus)) for member in MEMBERS]
    ran = [(member.mesh_address, gpu) for member in MEMBERS for gpu in member.gpus]
    return MARK + json.dumps({"nodes": whole if nodes is None else nodes, "slots": ran if slots is None else slots})


def said(member: Member) -> str:
    reached = "".join(f"reached {o.mesh_address} {o.cpus * 100}\n" for o in MEMBERS if o is not member)
    return f"{reached}{LISTENS}policy drop\n" + (told() if member is MEMBERS[0] else "")


def failures(change: Callable[[dict[str, str]], None], stderr: str = "") -> list[tuple[str, str, str]]:
    texts = {member.name: said(member) for member in MEMBERS}
    change(texts)
    found = judge(TRIAL, {name: Findings.parse(text, stderr) for name, text in texts.items()})
    assert set(found.accepted) == {member.name for member in MEMBERS} - {check.host for check in found.failures}
    return [(check.host, check.name, check.found) for check in found.failures]


def test_hosts_as_booked_are_accepted_with_their_worst_round_trip() -> None:
    found = judge(TRIAL, {member.name: Findings.parse(said(member)) for member in MEMBERS})
    assert (found.failures, found.accepted) == ((), ("lab-a1", "lab-a2", "lab-a3"))
    assert found.worst_rtt_ns == 300_000
    assert len(found.checks) == 6 * len(MEMBERS)


def put(host: str, old: str, new: str) -> Callable[[dict[str, str]], None]:
    def change(texts: dict[str, str]) -> None:
        assert old in texts[host]
        texts[host] = texts[host].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("lab-a2", "reached 10.88.0.3 300", "unreached 10.88.0.3"), ("lab-a2", "mesh", "does not reach lab-a3")),
        (put("lab-a3", "policy drop", ""), ("lab-a3", "firewall", "no such policy")),
        (
            put("lab-a1", "policy", "listens tcp *:6379\npolicy"),
            ("lab-a1", "listeners", "tcp 6379 of Ray"),
        ),
        (put("lab-a1", "listens udp *:51820\n", ""), ("lab-a1", "listeners", "udp 51820 missing")),
        (put("lab-a1", "policy", "answers 192.0.2.2:8265\npolicy"), ("lab-a2", "silence", "192.0.2.2:8265 answers")),
        (put("lab-a1", "policy", "refuses 192.0.2.2:6379\npolicy"), ("lab-a2", "silence", "192.0.2.2:6379 answers")),
        (put("lab-a1", '["10.88.0.2", 2, 2]', '["10.88.0.2", 2, 1]'), ("lab-a2", "ray", "2 CPUs, 1 GPUs")),
        (put("lab-a1", '["10.88.0.3", 3, 2]', '["10.88.0.9", 3, 2]'), ("lab-a3", "ray", "no living Ray node")),
        (put("lab-a1", ', ["10.88.0.3", "GPU-3b"]', ""), ("lab-a3", "gpus", "no task on GPU-3b")),
        (
            put("lab-a1", '"GPU-2b"', '"GPU-0"'),
            ("lab-a2", "gpus", "no task on GPU-2b, a task on GPU-0"),
        ),
    ],
)
def test_a_fault_is_found_on_its_host(change: Callable[[dict[str, str]], None], expected: tuple[str, str, str]) -> None:
    assert failures(change) == [expected]


def test_what_a_supplier_runs_behind_the_firewall_is_told_and_not_a_fault() -> None:
    text = said(MEMBERS[1]) + "listens tcp *:9100\n"
    found = judge(TRIAL, {m.name: Findings.parse(text if m is MEMBERS[1] else said(m)) for m in MEMBERS})
    assert found.failures == ()
    assert "SSH and WireGuard; shut: tcp 9100" in [check.found for check in found.checks if check.host == "lab-a2"]
    opened = failures(put("lab-a2", "policy drop", "listens tcp *:9100"))
    assert ("lab-a2", "listeners", "SSH and WireGuard; open: tcp 9100") in opened


def test_a_head_that_says_nothing_fails_every_host_with_its_last_words() -> None:
    found = failures(lambda texts: put("lab-a1", told(), "")(texts), "one\ntwo\nthree\nno such container")
    assert {host for host, _, _ in found} == {"lab-a1", "lab-a2", "lab-a3"}
    assert ("lab-a2", "ray", "no answer from Ray: two / three / no such container") in found


def test_one_host_has_no_neighbour_to_reach() -> None:
    alone = Trial(booking="demo", members=(replace(MEMBERS[0], cpus=1),))
    nodes, slots = [("10.88.0.1", 1, 2)], [("10.88.0.1", gpu) for gpu in MEMBERS[0].gpus]
    found = judge(alone, {"lab-a1": Findings.parse(f"{LISTENS}policy drop\n{told(nodes, slots)}")})
    assert (found.accepted, found.worst_rtt_ns) == (("lab-a1",), None)
