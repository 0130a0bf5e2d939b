"""The container in which Ray runs on a host, in the network namespace of the mesh."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.deploys.item import Change, Command, quote
from provision.deploys.items.docker import asked, docker

START_LIMIT_SECONDS = 180
_STOP_SECONDS = 60

_INSPECT = (
    "{{.Name}} {{.Id}} {{.State.Running}} {{.State.Pid}} {{.State.StartedAt}} {{.State.ExitCode}} {{.State.OOMKilled}}"
    ' {{index .Config.Labels "timelock.spec"}} {{index .Config.Labels "timelock.head"}}'
)

# What listens in the mesh's namespace is read from the kernel: that costs no process inside.
_LISTENING = 'awk \'$4 == "0A" {{split($2, a, ":"); print a[2]}}\' /proc/{pid}/net/tcp /proc/{pid}/net/tcp6'

_PROBE = """\
seen=$({inspected})
echo "$seen"
pid() {{ echo "$seen" | sed -n "s|^/$1 [^ ]* true \\([0-9]*\\) .*|\\1|p"; }}
ray=$(pid ray) pause=$(pid pause)
[ -n "$ray" ] || exit 0
echo "age $(ps -o etimes= -p "$ray" | tr -d ' ')"
[ "/proc/$ray/ns/net" -ef "/proc/$pause/ns/net" ] && echo joined
echo "listening $({listening} | sort -u | tr '\\n' ' ')\""""

_RUN = """\
{docker} rm -f -v ray >/dev/null 2>&1 || :
set --
for device in {optional}; do [ ! -c "$device" ] || set -- "$@" --device "$device"; done
{docker} run -d {options} "$@" {image} {command} >/dev/null"""

_WAIT = """\
pid=$({docker} inspect -f '{{{{.State.Pid}}}}' ray)
tries={tries}
until [ "$pid" -gt 0 ] && {listening} | grep -qx {port}; do
  tries=$((tries - 1))
  [ $tries -gt 0 ] && kill -0 "$pid" 2>/dev/null && [ "$pid" -gt 0 ] || {{
    tail=$({docker} logs --tail 12 ray 2>&1 | sed 's/\\x1b\\[[0-9;]*m//g')
    state=$({docker} inspect -f '{{{{.State.Status}}}}, status {{{{.State.ExitCode}}}}' ray)
    fail step "Ray did not come up ($state): $tail" ''
  }}
  sleep 0.1
done"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayContainer:
    """A container with these options, image and command, made anew when any of them, or the head's session, changes.

    `environment` may hold secrets: it goes through standard input. `serves` are the ports on which Ray listens when
    all is up; the first one is what to wait for. `optional_devices` are given where the host has them.
    """

    booking: str
    role: str
    image: str
    options: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    optional_devices: tuple[str, ...]
    head_session: str
    serves: tuple[int, ...]
    shared: str = ""

    @property
    def label(self) -> str:
        """'ray head' or 'ray worker'."""
        return f"ray {self.role}"

    def probe(self) -> str:
        """Print what the engine says of this container and of the pause container, and the ports in use."""
        inspected = asked(self.booking, f"inspect -f {quote(_INSPECT)} ray pause")
        return _PROBE.format(inspected=inspected, listening=_LISTENING.format(pid="$ray"))

    def changes(self, seen: str, changed: frozenset[str]) -> tuple[Change, ...]:
        """Make the container (anew) when it is absent, differs, or does not serve."""
        reason = self._difference(Seen.parse(seen))
        if not reason:
            return ()
        engine = docker(self.booking)
        run = _RUN.format(
            docker=engine,
            optional=" ".join(map(quote, self.optional_devices)) or "''",
            options=" ".join(map(quote, (*self._labels, *self.options))),
            image=quote(self.image),
            command=" ".join(map(quote, self.command)),
        )
        wait = _WAIT.format(
            docker=engine,
            tries=START_LIMIT_SECONDS * 10,
            port=f"{self.serves[0]:04X}",
            listening=_LISTENING.format(pid="$pid"),
        )
        variables = "".join(f"{name}={value}\n" for name, value in sorted(self.environment.items()))
        return (
            Change(
                reason=reason,
                commands=(
                    Command(text=run, stdin=variables, timeout_seconds=_STOP_SECONDS),
                    Command(text=wait, timeout_seconds=START_LIMIT_SECONDS + 30, exclusive=False),
                ),
            ),
        )

    def removal(self, seen: str) -> tuple[Change, ...]:
        """Kill and remove it."""
        if not Seen.parse(seen).id:
            return ()
        text = f"{docker(self.booking)} rm -f -v ray >/dev/null"
        return (Change(reason="no longer wanted", commands=(Command(text=text, timeout_seconds=_STOP_SECONDS),)),)

    @property
    def spec(self) -> str:
        """A digest of all that the container is made from."""
        parts = [self.image, self.options, self.command, sorted(self.environment.items()), self.optional_devices]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _difference(self, seen: Seen) -> str:
        if not seen.id:
            return "absent"
        if not seen.running:
            return f"not running ({'out of memory' if seen.out_of_memory else f'ended with status {seen.exit_code}'})"
        if not seen.joined:
            return "not in the namespace of the mesh"
        if seen.head != self.head_session:
            return "the head was made anew"
        if seen.spec != self.spec:
            return "differs from what is booked"
        silent = [port for port in self.serves if port not in seen.ports]
        if silent and (silent[0] == self.serves[0] or seen.age_seconds > START_LIMIT_SECONDS):
            return f"not running: nothing listens on port {silent[0]}"
        return ""

    @property
    def _labels(self) -> tuple[str, ...]:
        labels = {"booking": self.booking, "role": "ray", "spec": self.spec, "head": self.head_session}
        return tuple(word for name, value in labels.items() for word in ("--label", f"timelock.{name}={value}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the probe printed."""

    id: str = ""
    running: bool = False
    started: str = ""
    exit_code: int = 0
    out_of_memory: bool = False
    spec: str = ""
    head: str = ""
    joined: bool = False
    age_seconds: int = 0
    ports: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Seen:
        """Read its lines; what is missing stays empty."""
        fields: dict[str, object] = {}
        for line in text.splitlines():
            match line.split(" "):
                case ["/ray", name, running, _, started, code, oom, spec, head]:
                    fields |= {
                        "id": name,
                        "running": running == "true",
                        "started": started,
                        "exit_code": int(code),
                        "out_of_memory": oom == "true",
                        "spec": spec,
                        "head": head,
                    }
                case ["age", seconds]:
                    fields["age_seconds"] = int(seconds)
                case ["joined"]:
                    fields["joined"] = True
                case ["listening", *ports]:
                    fields["ports"] = frozenset(int(port, 16) for port in ports if port)
        return cls(**fields)  # type: ignore[arg-type]

    @property
    def session(self) -> str:
        """One life of this container: its id and when it was started."""
        return f"{self.id[:12]}@{self.started}" if self.id else ""
