"""Role 'ray': Ray on one host, as a container that has what was booked and no more.

It joins the namespace of the mesh, so that nothing of Ray listens on the host and nothing but the mesh can be reached;
read-only root, no capability, an ordinary user, limits on memory, CPUs and processes, and of the GPUs those booked.
The head is ready when its control store answers, so that workers start beside its dashboard.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from provision.deploys import ports
from provision.deploys.item import Item
from provision.deploys.items.ray import START_LIMIT_SECONDS, RayContainer
from provision.deploys.items.ray import Seen as SeenContainer
from provision.deploys.role import Role, Seen

Reference = Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$")]
Size = Annotated[int, Field(gt=0)]

USER = "1000:1000"
HOME = "/workspace"

# What the driver's library opens beside the GPU itself, on hosts that have it.
CONTROL_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")

# As process 1 a shell: it takes in orphans of Ray's workers, and passes the signal to stop on.
_FIRST_PROCESS = """\
"$@" & child=$!
trap 'kill -TERM $child' TERM INT
while :; do wait $child; status=$?; kill -0 $child 2>/dev/null || exit $status; done"""


class Gpu(BaseModel):
    """A booked GPU of this host."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    uuid: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    index: Annotated[int, Field(ge=0)]
    device: Annotated[str, Field(pattern=r"^/dev/[A-Za-z0-9/_-]+$")]


class Ray(Role):
    """Parameters: head or worker, addresses in the mesh, GPUs and limits.

    `cpus` is what Ray offers to tasks, `cpu_limit` what the container may use (a worker's default: `cpus`); with a
    `token`, whoever speaks to Ray must show it.
    """

    role: Literal["head", "worker"]
    image: Reference
    address: IPv4Address
    head_address: IPv4Address
    head_session: Annotated[str, Field(pattern=r"^[A-Za-z0-9@.:-]*$")] | None = None
    gpus: tuple[Gpu, ...]
    cpus: Annotated[int, Field(ge=0)]
    cpu_limit: Annotated[int, Field(gt=0)] | None = None
    memory_bytes: Size
    shm_bytes: Size
    object_store_bytes: Size
    pids: Annotated[int, Field(ge=256)]
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,}$")] | None = Field(default=None, repr=False)

    def kept(self) -> dict[str, object]:
        """Without the token."""
        return self.model_dump(mode="json", exclude={"booking", "token"})

    def items(self) -> tuple[Item, ...]:
        """The container."""
        return (self._container,)

    def outputs(self, seen: Seen) -> dict[str, object]:
        """The session: another one after each start."""
        return {"session": SeenContainer.parse(seen[self._container.label]).session}

    @property
    def _container(self) -> RayContainer:
        head = self.role == "head"
        return RayContainer(
            booking=self.booking,
            role=self.role,
            image=self.image,
            options=self._options(),
            command=("sh", "-c", _FIRST_PROCESS, "ray", *self._start()),
            environment=self._environment(),
            optional_devices=CONTROL_DEVICES if self.gpus else (),
            head_session=self.head_session or "",
            serves=(ports.GCS, ports.NODE_MANAGER) if head else (ports.NODE_MANAGER,),
        )

    def _options(self) -> tuple[str, ...]:
        """Return what `docker run` is told."""
        limit = self.cpu_limit or (self.cpus if self.role == "worker" else 0)
        return (
            *("--name", "ray", "--network", "container:pause"),
            *("--user", USER, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--read-only", "--workdir", HOME),
            *("--tmpfs", f"/tmp:rw,exec,nosuid,nodev,mode=1777,size={self.memory_bytes // 4}"),
            *("--tmpfs", f"{HOME}:rw,exec,nosuid,nodev,mode=0700,uid=1000,gid=1000,size={self.memory_bytes // 4}"),
            *("--shm-size", str(self.shm_bytes)),
            *("--memory", str(self.memory_bytes), "--memory-swap", str(self.memory_bytes)),
            *(("--cpus", str(limit)) if limit else ()),
            *("--pids-limit", str(self.pids)),
            *("--ulimit", "core=0"),
            *(word for gpu in self.gpus for word in ("--device", gpu.device)),
            *("--env-file", "/dev/stdin"),
        )

    def _environment(self) -> dict[str, str]:
        """Return variables; GPUs are named by UUID, which stays right whatever the container can see."""
        return {
            "HOME": HOME,
            "CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in self.gpus),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            # On a busy machine the parts of Ray wait longer for each other than it would let them.
            "RAY_gcs_server_port_wait_time_s": str(START_LIMIT_SECONDS),
            "RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(START_LIMIT_SECONDS),
            "RAY_NUM_REDIS_GET_RETRIES": str(START_LIMIT_SECONDS // 2),
            # Ray starts as many worker processes at a time as it offers CPUs; the head, which offers few, has GPUs too.
            "RAY_worker_maximum_startup_concurrency": str(max(self.cpus, len(self.gpus), 1)),
            **({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token} if self.token else {}),
        }

    def _start(self) -> tuple[str, ...]:
        """Return the command that starts Ray and ends with it."""
        head = (
            *("--head", f"--port={ports.GCS}", f"--ray-client-server-port={ports.CLIENT}"),
            *("--include-dashboard=true", f"--dashboard-host={self.address}", f"--dashboard-port={ports.DASHBOARD}"),
        )
        first, last = ports.WORKERS
        return (
            *("ray", "start", "--block", "--disable-usage-stats", "--log-style=record", "--log-color=false"),
            *(head if self.role == "head" else (f"--address={self.head_address}:{ports.GCS}",)),
            f"--node-ip-address={self.address}",
            f"--node-manager-port={ports.NODE_MANAGER}",
            f"--object-manager-port={ports.OBJECT_MANAGER}",
            f"--runtime-env-agent-port={ports.RUNTIME_ENV_AGENT}",
            f"--dashboard-agent-grpc-port={ports.DASHBOARD_AGENT_GRPC}",
            f"--dashboard-agent-listen-port={ports.DASHBOARD_AGENT}",
            f"--metrics-export-port={ports.METRICS}",
            f"--min-worker-port={first}",
            f"--max-worker-port={last}",
            f"--num-cpus={self.cpus}",
            f"--num-gpus={len(self.gpus)}",
            f"--object-store-memory={self.object_store_bytes}",
        )


ROLE = Ray
