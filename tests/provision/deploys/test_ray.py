"""Role 'ray': the container asked for, and when it is made anew."""

from collections.abc import Mapping

import pytest

from provision.deploys import ports
from provision.deploys.errors import StepFailed
from provision.deploys.items.ray import START_LIMIT_SECONDS, RayContainer
from provision.deploys.ray import Ray
from provision.deploys.role import parse

TOKEN = "t" * 32
PARAMS: Mapping[str, object] = {
    "booking": "demo",
    "role": "worker",
    "image": f"registry:5000/timelock/ray@sha256:{'0' * 64}",
    "address": "10.88.0.2",
    "head_address": "10.88.0.1",
    "head_session": "0123456789ab@2026-01-01T00:00:00.123456789Z",
    "gpus": [
        {"uuid": "GPU-a", "index": 0, "device": "/dev/nvidia0"},
        {"uuid": "GPU-b", "index": 3, "device": "/dev/nvidia3"},
    ],
    "cpus": 4,
    "memory_bytes": 8_000_000_000,
    "shm_bytes": 2_000_000_000,
    "object_store_bytes": 1_900_000_000,
    "pids": 4096,
}


def container(**params: object) -> RayContainer:
    role = parse("ray", {**PARAMS, **params})
    assert isinstance(role, Ray)
    (item,) = role.items()
    assert isinstance(item, RayContainer)
    return item


def head(**params: object) -> RayContainer:
    return container(role="head", head_session=None, address="10.88.0.1", **params)


def seen(
    item: RayContainer,
    *,
    running: bool = True,
    code: int = 0,
    oom: bool = False,
    spec: str = "",
    session: str | None = None,
    joined: bool = True,
    age_seconds: int = 1000,
    listening: tuple[int, ...] | None = None,
) -> str:
    life = f"{str(running).lower()} {77 if running else 0} 2026-01-02T00:00:00.5Z {code} {str(oom).lower()}"
    labels = f"{spec or item.spec} {item.head_session if session is None else session}"
    lines = [f"/ray {'c' * 64} {life} {labels}", f"/pause {'d' * 64} true 76 2026-01-01T00:00:00Z 0 false  "]
    if running:
        open_ports = " ".join(f"{port:04X}" for port in (item.serves if listening is None else listening))
        lines += [f"age {age_seconds}", *(["joined"] if joined else []), f"listening {open_ports} "]
    return "\n".join(lines)


def reasons(item: RayContainer, text: str) -> list[str]:
    return [change.reason for change in item.changes(text, frozenset())]


@pytest.mark.parametrize("item", [container(), head()], ids=["worker", "head"])
def test_a_container_as_booked_asks_for_nothing(item: RayContainer) -> None:
    assert reasons(item, seen(item)) == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"running": False, "code": 137}, "not running (ended with status 137)"),
        ({"running": False, "code": 137, "oom": True}, "not running (out of memory)"),
        ({"joined": False}, "not in the namespace of the mesh"),
        ({"session": "another"}, "the head was made anew"),
        ({"spec": "0" * 64}, "differs from what is booked"),
        ({"listening": ()}, f"not running: nothing listens on port {ports.NODE_MANAGER}"),
        ({"listening": (ports.GCS,)}, f"not running: nothing listens on port {ports.NODE_MANAGER}"),
    ],
)
def test_a_worker_is_made_anew(state: dict[str, object], reason: str) -> None:
    item = container()
    assert reasons(item, seen(item, **state)) == [reason]  # type: ignore[arg-type]


def test_no_container() -> None:
    assert reasons(container(), "") == ["absent"]
    assert container().removal("") == ()
    assert len(container().removal(seen(container(), running=False))) == 1


def test_a_head_may_take_its_time_with_what_workers_do_not_wait_for() -> None:
    item = head()
    assert reasons(item, seen(item, listening=(ports.GCS,), age_seconds=3)) == []
    late = seen(item, listening=(ports.GCS,), age_seconds=START_LIMIT_SECONDS + 1)
    assert reasons(item, late) == [f"not running: nothing listens on port {ports.NODE_MANAGER}"]


@pytest.mark.parametrize(
    "other",
    [{"memory_bytes": 9_000_000_000}, {"cpus": 3}, {"gpus": []}, {"pids": 5000}, {"token": TOKEN}],
)
def test_whatever_is_booked_otherwise_makes_another_spec(other: dict[str, object]) -> None:
    assert container(**other).spec != container().spec


def test_the_head_s_session_is_not_part_of_the_spec() -> None:
    assert container(head_session="other").spec == container().spec


def test_only_booked_gpus_are_given_and_named_by_uuid() -> None:
    item = container()
    devices = [item.options[n + 1] for n, option in enumerate(item.options) if option == "--device"]
    assert devices == ["/dev/nvidia0", "/dev/nvidia3"]
    assert item.environment["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert "--num-gpus=2" in item.command
    bare = container(gpus=[])
    assert (bare.optional_devices, bare.environment["CUDA_VISIBLE_DEVICES"]) == ((), "")


@pytest.mark.parametrize(
    "words",
    [
        "--network container:pause",
        "--user 1000:1000",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--read-only",
        "--memory 8000000000 --memory-swap 8000000000",
        "--cpus 4",
        "--pids-limit 4096",
        "--ulimit core=0",
        "--shm-size 2000000000",
    ],
)
def test_what_the_container_may_not_do(words: str) -> None:
    assert words in " ".join(container().options)


def test_a_head_is_held_to_a_limit_of_its_own() -> None:
    assert "--cpus" not in head().options
    assert "--cpus 8" in " ".join(head(cpu_limit=8).options)
    assert "--num-cpus=4" in head(cpu_limit=8).command


def test_head_and_worker_are_started_each_its_own_way() -> None:
    assert {"--head", f"--port={ports.GCS}", "--dashboard-host=10.88.0.1"} <= set(head().command)
    assert f"--address=10.88.0.1:{ports.GCS}" in container().command
    assert "--head" not in container().command


def test_a_token_goes_through_standard_input_only() -> None:
    item = container(token=TOKEN)
    (change,) = item.changes("", frozenset())
    run, _ = change.commands
    assert f"RAY_AUTH_TOKEN={TOKEN}\n" in run.stdin
    assert TOKEN not in f"{item} {change} {run.text}"


def test_waiting_gives_up_the_booking_s_lock() -> None:
    (change,) = container().changes("", frozenset())
    assert [command.exclusive for command in change.commands] == [True, False]


def test_the_session_is_another_after_each_start() -> None:
    role = parse("ray", dict(PARAMS))
    text = seen(container())
    assert role.outputs({"ray worker": text}) == {"session": "cccccccccccc@2026-01-02T00:00:00.5Z"}
    assert role.outputs({"ray worker": text.replace("-02T", "-03T")}) != role.outputs({"ray worker": text})
    assert role.outputs({"ray worker": ""}) == {"session": ""}
    parse("ray", {**PARAMS, "head_session": role.outputs({"ray worker": text})["session"]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "driver"},
        {"image": "timelock/ray:2.60"},
        {"gpus": [{"uuid": "GPU-a,b", "index": 0, "device": "/dev/nvidia0"}]},
        {"gpus": [{"uuid": "GPU-a", "index": 0, "device": "/etc/passwd"}]},
        {"memory_bytes": 0},
        {"head_session": "a b"},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(StepFailed):
        container(**wrong)
