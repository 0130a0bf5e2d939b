"""A world in which evidence is made: a root, a control plane, a witness, a customer, and hosts whose agents write.

Everything is signed for real, with keys derived from names. A test changes one thing and looks at the verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proofs import bundle, chain, envelope, keys, records, statement
from proofs.envelope import Envelope
from proofs.keys import P256_ORDER, PublicKey
from proofs.records import Actor, Record
from proofs.statement import Predicate
from proofs.trust import Trust, encode_trust

SECOND_NS = 10**9
T1_NS = 1_800_000_000 * SECOND_NS
BOOKED, AGENT, FOREIGN, DAEMON = 100, 200, 300, 400
ROOT_GROUP = 1
BOOT_ID = "b0" * 16
OTHER_BOOT_ID = "b1" * 16
BOOKED_ACTOR = Actor(pid=4242, start=1000, cgroup=BOOKED)
STRANGER = Actor(pid=6666, start=2000, cgroup=FOREIGN)


class Signer:
    """A private key by name."""

    def __init__(self, name: str, algorithm: str = "ed25519") -> None:
        seed = hashlib.sha256(name.encode()).digest()
        self.algorithm = algorithm
        if algorithm == "ed25519":
            self._ed = Ed25519PrivateKey.from_private_bytes(seed)
            raw = self._ed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        else:
            self._ec = ec.derive_private_key(int.from_bytes(seed, "big") % P256_ORDER, ec.SECP256R1())
            raw = self._ec.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.public: PublicKey = keys.parse(algorithm, keys.encode_base64(raw), name)
        self.text = keys.encode_base64(raw)

    def sign(self, message: bytes) -> bytes:
        if self.algorithm == "ed25519":
            return self._ed.sign(message)
        r, s = decode_dss_signature(self._ec.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


@cache
def signer(name: str, algorithm: str = "ed25519") -> Signer:
    """The key of that name, made once."""
    return Signer(name, algorithm)


def sealed(predicate: Predicate, name: str, sha256: str, *by: Signer) -> bytes:
    """An envelope around a statement, signed by each of `by`."""
    return signed_payload(statement.encode(predicate, name, sha256), *by)


def signed_payload(payload: bytes, *by: Signer) -> bytes:
    """An envelope around any bytes."""
    message = envelope.pre_authentication_encoding(payload)
    signatures = {each.public.keyid: each.sign(message) for each in by}
    return Envelope(payload=payload, signatures=signatures).encode()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Host:
    """What a host's agent experiences. Times are seconds from T1; `boots_ns` is UTC minus the boot clock."""

    name: str = "lab-a1"
    gpus: tuple[str, ...] = ("GPU-1",)
    algorithm: str = "ed25519"
    from_s: int = -30
    until_s: int = 645
    extra: Mapping[int, Sequence[Callable[[int], Record]]] = field(default_factory=dict)
    silent: frozenset[int] = frozenset()
    no_heartbeat: frozenset[int] = frozenset()
    reboots_at: int | None = None
    paused_at: int | None = None
    paused_s: int = 0
    closes: bool = True
    mode: str = "deny"

    @property
    def agent(self) -> Signer:
        return signer(f"agent of {self.name}", self.algorithm)


@dataclass(frozen=True, kw_only=True)
class World:
    """A booking and its hosts."""

    hosts: tuple[Host, ...] = (Host(),)
    window_s: int = 600
    required: tuple[str, ...] = ("gate", "scan", "driver")
    least_coverage_ppm: int = 999_000
    longest_gap_ns: int = 12 * SECOND_NS
    mode: str = "deny"
    root_signers: int = 2
    revoked: Mapping[str, int] = field(default_factory=dict)
    change_grant: Callable[[statement.Grant], statement.Grant] = lambda grant: grant

    # --- keys

    @property
    def trust(self) -> Trust:
        return Trust.parse(self.trust_file, "trust.json")

    @property
    def trust_file(self) -> bytes:
        root = {signer(f"root {n}").public.keyid: signer(f"root {n}").public for n in range(3)}
        return encode_trust(root, 2, signer("customer").public)

    @property
    def keys_file(self) -> bytes:
        plane = {role: signer(role) for role in ("grant", "witness", "manifest")}
        entries = {
            each.public.keyid: statement.KeyEntry(
                algorithm=each.algorithm, public=each.text, from_ns=0, until_ns=2 * T1_NS
            )
            for each in plane.values()
        }
        roles = {role: statement.RoleEntry(keyids=(each.public.keyid,), threshold=1) for role, each in plane.items()}
        predicate = statement.Keys(version=1, issued_ns=T1_NS, keys=entries, roles=roles, revoked=dict(self.revoked))
        return sealed(predicate, "keys", digest("keys"), *(signer(f"root {n}") for n in range(self.root_signers)))

    # --- grant

    @property
    def grant(self) -> statement.Grant:
        customer = signer("customer")
        return self.change_grant(
            statement.Grant(
                booking="demo",
                start_ns=T1_NS,
                end_ns=T1_NS + self.window_s * SECOND_NS,
                customer_algorithm="ed25519",
                customer_public=customer.text,
                customer_nonce="c0" * 16,
                hosts={
                    host.name: statement.GrantedHost(
                        agent_algorithm=host.algorithm, agent_public=host.agent.text, gpus=host.gpus
                    )
                    for host in self.hosts
                },
                image=digest("image"),
                mode=self.mode,
                required=self.required,
                infrastructure=(),
                limits=statement.Limits(
                    sample_gap_ns=5 * SECOND_NS,
                    witness_gap_ns=120 * SECOND_NS,
                    longest_gap_ns=self.longest_gap_ns,
                    least_coverage_ppm=self.least_coverage_ppm,
                ),
                level="L0",
                simulated=False,
            )
        )

    @property
    def grant_file(self) -> bytes:
        return sealed(self.grant, "request", digest("request"), signer("grant"), signer("customer"))

    @property
    def grant_digest(self) -> str:
        return envelope.digest(self.grant_file)

    # --- bundle

    def files(self) -> dict[str, bytes]:
        """A whole bundle."""
        grant = self.grant_file
        files = {bundle.GRANT: grant, bundle.KEYS: self.keys_file}
        for host in self.hosts:
            files |= Scribe(self, host).write()
        return self.with_manifest(files)

    def with_manifest(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """The same files, listed by the control plane."""
        listed = {name: data for name, data in files.items() if name != bundle.MANIFEST}
        manifest = statement.Manifest(
            grant=self.grant_digest,
            made_ns=T1_NS + (self.window_s + 10_000) * SECOND_NS,
            files={
                name: statement.FileEntry(sha256=envelope.digest(data), size_bytes=len(data))
                for name, data in listed.items()
            },
        )
        return {**listed, bundle.MANIFEST: sealed(manifest, "bundle", digest("bundle"), signer("manifest"))}


class Scribe:
    """Writes what one host's agent and the witness say."""

    def __init__(self, world: World, host: Host) -> None:
        self.world, self.host = world, host
        self.witness = signer("witness")
        self.head = chain.genesis(bytes.fromhex(world.grant_digest), host.agent.public.keyid)
        self.lines: list[bytes] = []
        self.beats: list[bytes] = []
        self.nonce = digest("nonce")[:32]
        self.sequence = 0

    def write(self) -> dict[str, bytes]:
        host = self.host
        opening = statement.Opening(
            grant=self.world.grant_digest,
            agent=host.agent.public.keyid,
            at_ns=self._utc(host.from_s) - SECOND_NS,
            nonce=self.nonce,
        )
        self._begin(host.from_s, resumed=False)
        for second in range(host.from_s, host.until_s):
            if second == host.reboots_at:
                self._begin(second, resumed=True)
            if host.paused_at is not None and 0 <= second - host.paused_at < host.paused_s:
                continue
            self._observe(second)
            if second % 15 == 0 and second not in host.no_heartbeat and second not in host.silent:
                self.beats.append(self._word(statement.Heartbeat, second))
        files = {
            "opening": sealed(opening, "agent", host.agent.public.keyid, self.witness),
        }
        if host.closes:
            # A nonce used at once tells within a round trip when that was: the end is not blurred by a cadence.
            self.beats.append(self._word(statement.Heartbeat, host.until_s))
            files["close"] = self._word(statement.Close, host.until_s, late_ns=100 * 10**6)
        files["beats"] = bundle.pack(self.beats)
        files["records"] = bundle.pack(self.lines)
        return {bundle.path(host.name, what): data for what, data in files.items()}

    def boot_clock(self, second: int) -> int:
        """The host's boot clock at a second of the window."""
        host, at_ns = self.host, 10**13 + second * SECOND_NS
        if host.reboots_at is not None and second >= host.reboots_at:
            return (second - host.reboots_at + 5) * SECOND_NS
        if host.paused_at is not None and second >= host.paused_at + host.paused_s:
            return at_ns - host.paused_s * SECOND_NS
        return at_ns

    def _utc(self, second: int) -> int:
        return T1_NS + second * SECOND_NS

    def _boot_id(self, second: int) -> str:
        rebooted = self.host.reboots_at is not None and second >= self.host.reboots_at
        return OTHER_BOOT_ID if rebooted else BOOT_ID

    def _add(self, record: Record) -> None:
        self.lines.append(records.encode(record))

    def _begin(self, second: int, *, resumed: bool) -> None:
        at_ns = self.boot_clock(second)
        self._add(
            records.Boot(
                at_ns=at_ns, boot_id=self._boot_id(second), agent=digest("agent"), kernel="6.1", resumed=resumed
            )
        )
        for group in (BOOKED, AGENT, FOREIGN, DAEMON):
            self._add(records.Group(at_ns=at_ns, id=group, parent=ROOT_GROUP))
        self._add(records.Group(at_ns=at_ns, id=ROOT_GROUP))
        self._add(records.Bind(at_ns=at_ns, booked=BOOKED, agent=AGENT, infrastructure=(DAEMON,)))

    def _observe(self, second: int) -> None:
        host, at_ns = self.host, self.boot_clock(second)
        if second in host.silent:
            return
        for make in host.extra.get(second, ()):
            self._add(make(at_ns))
        for gpu in host.gpus:
            row = records.Row(actor=BOOKED_ACTOR, memory_bytes=10**9)
            self._add(
                records.Driver(
                    at_ns=at_ns + 10**6, begun_ns=at_ns, gpu=gpu, epoch=1, rows=(row,), energy_millijoules=second + 100
                )
            )
        if second % 2 == 0:
            holding = tuple(records.Holding(gpu=gpu, actor=BOOKED_ACTOR) for gpu in host.gpus)
            self._add(records.Scan(at_ns=at_ns + 2 * 10**6, begun_ns=at_ns, holding=holding))
            self._add(records.Gate(at_ns=at_ns + 3 * 10**6, link=7, program=8, mode=host.mode, lost=0))
        if second % 30 == 0:
            self._add(records.Canary(at_ns=at_ns + 4 * 10**6, gpu=host.gpus[0], seen=True))

    def _word(self, kind: type[statement.Heartbeat] | type[statement.Close], second: int, late_ns: int = 0) -> bytes:
        self.head = self.head.after(self.lines[self.head.count :])
        at_ns = self.boot_clock(second) + 10 * 10**6 + late_ns
        said = kind(
            grant=self.world.grant_digest,
            number=len(self.beats),
            count=self.head.count,
            head=self.head.digest.hex(),
            boot_id=self._boot_id(second),
            at_ns=at_ns,
            wall_ns=self._utc(second),
            nonce=self.nonce,
        )
        data = sealed(said, "records", said.head, self.host.agent)
        self.sequence += 1
        self.nonce = digest(f"nonce {self.host.name} {self.sequence}")[:32]
        word = statement.Countersignature(
            grant=self.world.grant_digest,
            of=envelope.digest(data),
            at_ns=self._utc(second) + 60 * 10**6 + late_ns,
            sequence=self.sequence,
            nonce=self.nonce,
        )
        return data + b" " + sealed(word, "said", word.of, self.witness)


def world(**changes: object) -> World:
    """A world with one host, changed as told."""
    base = Host()
    known = {name for name in Host.__dataclass_fields__}
    of_host = {name: value for name, value in changes.items() if name in known and name != "mode"}
    host = replace(base, **of_host)  # type: ignore[arg-type]
    of_world = {name: value for name, value in changes.items() if name not in of_host}
    if "mode" in of_world:
        host = replace(host, mode=str(of_world["mode"]))
    return replace(World(hosts=(host,)), **of_world)  # type: ignore[arg-type]


SMALLEST: tuple[msgspec.Struct, ...] = (
    World().grant,
    statement.Heartbeat(
        grant="0" * 64, number=0, count=1, head="1" * 64, boot_id=BOOT_ID, at_ns=1, wall_ns=2, nonce="c" * 32
    ),
    statement.Close(
        grant="0" * 64, number=1, count=1, head="1" * 64, boot_id=BOOT_ID, at_ns=1, wall_ns=2, nonce="c" * 32
    ),
    statement.Countersignature(grant="0" * 64, of="2" * 64, at_ns=3, sequence=4, nonce="d" * 32),
    statement.Opening(grant="0" * 64, agent="3" * 64, at_ns=5, nonce="e" * 32),
    records.Boot(at_ns=1, boot_id=BOOT_ID, agent="4" * 64, kernel="é 6.1", resumed=True),
    records.Bind(at_ns=1, booked=BOOKED, agent=AGENT),
    records.Group(at_ns=1, id=ROOT_GROUP),
    records.Gate(at_ns=1, link=1, program=2, mode="deny", lost=0),
    records.Watch(at_ns=1, source="engine", connection=1, lost=0),
    records.Opened(at_ns=1, gpu="GPU-1", actor=STRANGER, stopped=False),
    records.Held(at_ns=1, gpu="GPU-1", actor=STRANGER, present=True),
    records.Scan(at_ns=2, begun_ns=1, holding=(records.Holding(gpu="GPU-1", actor=STRANGER),)),
    records.Driver(at_ns=2, begun_ns=1, gpu="GPU-1", epoch=1, rows=(records.Row(actor=STRANGER),)),
    records.Accounting(at_ns=2, gpu="GPU-1", epoch=1, full=True),
    records.Container(at_ns=2, action="create", container="5" * 64, gpus=("GPU-1",)),
    records.Entered(at_ns=2, actor=STRANGER),
    records.Canary(at_ns=2, gpu="GPU-1", seen=True),
    records.Down(at_ns=2, source="scan", reason='quotes " and \x01'),
)
"""One of each kind."""
