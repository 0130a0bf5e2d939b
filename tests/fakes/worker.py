"""A worker server for tests: the real protocol over real pipes, with hosts that are directories.

Its argument is the directory. Each host is a directory in it, each role on it a file, so that apply, observe and
remove behave: what is deleted by hand is drift, what is applied twice is unchanged. Files of a host steer it:
`unreachable`, `host_key`, `auth` (the host is lost that way), `<role>.fail` (a failed reply as JSON), `<role>.hang` (an
apply or remove begins, then waits until it is cancelled or the file is gone). All jobs are listed in `jobs.jsonl`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import threading
from collections import defaultdict
from pathlib import Path

ROOT = Path(sys.argv[1])
LOST = {
    "unreachable": "no route to host",
    "host_key": "another host key",
    "auth": "key refused",
}
POLL_SECONDS = 0.02

write_lock = threading.Lock()
host_locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
cancelled: dict[int, threading.Event] = defaultdict(threading.Event)


class Failed(Exception):
    def __init__(self, **reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


def reply(request: dict, event: str, **fields: object) -> None:
    line = json.dumps({"v": 1, "id": request["id"], "event": event, "host": request["host"], **fields})
    with write_lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def step(request: dict, name: str, state: str) -> None:
    reply(request, "step", role=request["role"], step=name, state=state)


def digest(params: object) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def outputs_of(role: str, params: dict) -> dict:
    match role:
        case "identity":
            keys = {str(plane): base64.b64encode(os.urandom(32)).decode() for plane in params["planes"]}
            return {"public_keys": keys, "machine_id": os.urandom(16).hex(), "wireguard": "kernel"}
        case "ray":
            return {"session": os.urandom(6).hex()}
        case _:
            return {}


def await_release(request: dict, host: Path) -> None:
    """Wait while the role's `hang` file is there."""
    hang = host / f"{request['role']}.hang"
    while hang.exists():
        if cancelled[request["id"]].wait(POLL_SECONDS):
            raise Failed(kind="cancelled", step=request["role"], cause="it was cancelled", next="run it again")


def check(request: dict, host: Path) -> None:
    for kind, cause in LOST.items():
        if (host / kind).exists():
            raise Failed(kind=kind, step="connect", cause=cause, next=f"check {request['host']}")


def apply(request: dict, host: Path) -> tuple[dict, list[str]]:
    role, params = request["role"], request["params"]
    file, name = host / f"{role}.json", f"file {role}.json"
    step(request, name, "start")
    await_release(request, host)
    fail = host / f"{role}.fail"
    if fail.exists():
        file.write_text(json.dumps({"digest": "half", "outputs": {}}))
        raise Failed(**json.loads(fail.read_text()))
    before = json.loads(file.read_text()) if file.exists() else None
    if before and before["digest"] == digest(params):
        step(request, name, "unchanged")
        return before["outputs"], []
    keep = before["outputs"] if before and role == "identity" else {}
    outputs = keep or outputs_of(role, params)
    file.write_text(json.dumps({"digest": digest(params), "outputs": outputs}))
    step(request, name, "changed")
    return outputs, [f"{name}: {'content differs' if before else 'missing'}"]


def observe(request: dict, host: Path) -> tuple[dict, list[str]]:
    file = host / f"{request['role']}.json"
    if not file.exists():
        return {}, [f"file {file.name}: missing"]
    found = json.loads(file.read_text())
    if found["digest"] != digest(request["params"]):
        return found["outputs"], [f"file {file.name}: content differs"]
    return found["outputs"], []


def remove(request: dict, host: Path) -> tuple[dict, list[str]]:
    file = host / f"{request['role']}.json"
    step(request, f"file {file.name}", "start")
    await_release(request, host)
    if not file.exists():
        return {}, []
    file.unlink()
    step(request, f"file {file.name}", "changed")
    return {}, [f"file {file.name}: removed"]


def run(request: dict, host: Path) -> tuple[dict, list[str]]:
    params = request["params"]
    return {"stdout": params["command"] + params.get("stdin", ""), "stderr": "", "status": 0}, []


VERBS = {"apply": apply, "observe": observe, "remove": remove, "run": run}


def work(request: dict) -> None:
    host = ROOT / request["host"]
    with host_locks[request["host"]]:
        host.mkdir(parents=True, exist_ok=True)
        try:
            check(request, host)
            outputs, changes = VERBS[request["verb"]](request, host)
            reply(request, "done", outputs=outputs, changes=changes)
        except Failed as failed:
            reply(request, "failed", **failed.reply)


def log(request: dict) -> None:
    line = {"verb": request["verb"], "host": request["host"], "role": request.get("role", ""), "pid": os.getpid()}
    with (ROOT / "jobs.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    if (ROOT / "speaks").exists():  # what it says instead of answering
        sys.stdout.write((ROOT / "speaks").read_text())
        sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        log(request)
        if request["verb"] == "cancel":
            cancelled[request["params"]["id"]].set()
        elif request["verb"] == "run" and request["params"]["command"] == "die":
            sys.stderr.write("these were its last words\n")
            sys.stderr.flush()
            os._exit(3)
        else:
            threading.Thread(target=work, args=(request,), daemon=True).start()


if __name__ == "__main__":
    main()
