"""A bundle: the fixed set of files that holds a proof, and the door through which it becomes checked evidence.

Pure: the files come in as bytes by name. Everything that signatures, digests and order can tell is checked here, in
numbered steps; what the evidence then says is `proofs.verdict`'s affair.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from proofs import envelope, keys, observation, statement
from proofs.errors import Flaw, Rejected
from proofs.keys import PublicKey
from proofs.statement import Grant, Manifest
from proofs.testimony import Court, Pair, Signed, Testimony, hear
from proofs.trust import Keyring, Trust

GRANT, KEYS, MANIFEST = "grant.json", "keys.json", "manifest.json"
MODES = ("observe", "kill", "deny")
LEVELS = ("L0",)
STREAM_LIMIT_BYTES = 4 * 1024**3
LINE_LIMIT_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 1 << 18
_HOST_FILE = re.compile(r"hosts/([A-Za-z0-9][A-Za-z0-9._-]{0,62})/(opening|beats|records|close)\.(json|jsonl\.zlib)")
_NAMES = {
    "opening": "opening.json",
    "beats": "beats.jsonl.zlib",
    "records": "records.jsonl.zlib",
    "close": "close.json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a bundle holds, all signatures and orders checked. `customer_pinned`: the trust root names the customer."""

    grant: Grant
    testimonies: dict[str, Testimony]
    keys_version: int
    made_ns: int
    customer_pinned: bool


def read(files: Mapping[str, bytes], trust: Trust) -> Evidence:
    """Check a bundle from the root down.

    Raises:
        Rejected: the first flaw found, in this order of steps.
    """
    # 1. The files that must be there are, and no others.
    _require_files(files)
    # 2. The root that the customer pinned has signed the control plane's keys.
    keyring = Keyring.open(files[KEYS], trust, KEYS)
    # 3. Control plane and customer have signed the grant, which contradicts itself nowhere.
    grant = _grant(files[GRANT], keyring, trust)
    grant_digest = envelope.digest(files[GRANT])
    # 4. The control plane's manifest names each file with its digest.
    manifest = _manifest(files, keyring, grant_digest)
    if set(_hosts(files)) != set(grant.hosts):
        raise Rejected(Flaw.FILES, "hosts", f"expected those of the grant ({', '.join(sorted(grant.hosts))})")
    # 5. Each host's agent and the witness have signed what they say, in an order that holds.
    testimonies = {host: _testimony(files, host, grant, grant_digest, keyring) for host in sorted(grant.hosts)}
    # 6. The manifest came last.
    for host, testimony in testimonies.items():
        if testimony.last_witnessed_ns > manifest.made_ns:
            raise Rejected(Flaw.ORDER, MANIFEST, f"made before the last countersignature of {host}")
    return Evidence(
        grant=grant,
        testimonies=testimonies,
        keys_version=keyring.version,
        made_ns=manifest.made_ns,
        customer_pinned=trust.customer is not None,
    )


def unpack(data: bytes, where: str) -> Iterator[bytes]:
    """Yield the lines of a compressed stream (zlib, RFC 1950), which ends with a newline, or is empty.

    Raises:
        Rejected: SIZE beyond the limit, ENCODING when it is cut short, has something behind it, or an odd last line.
    """
    stream, rest, left = zlib.decompressobj(), b"", STREAM_LIMIT_BYTES
    while not stream.eof and (data or stream.unconsumed_tail):
        chunk = _inflate(stream, stream.unconsumed_tail or data, where)
        data = b""
        left -= len(chunk)
        if left < 0:
            raise Rejected(Flaw.SIZE, where, f"expected at most {STREAM_LIMIT_BYTES} bytes when unpacked, found more")
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_LIMIT_BYTES:
            raise Rejected(Flaw.SIZE, where, f"expected lines of at most {LINE_LIMIT_BYTES} bytes, found a longer one")
        yield from lines
    if not stream.eof or stream.unused_data:
        raise Rejected(Flaw.ENCODING, where, "expected one whole stream, found it cut short or something behind it")
    if rest:
        raise Rejected(Flaw.ENCODING, where, "expected a newline at the end, found none")


def _inflate(stream: zlib._Decompress, data: bytes, where: str) -> bytes:
    try:
        return stream.decompress(data, CHUNK_BYTES)
    except zlib.error as error:
        raise Rejected(Flaw.ENCODING, where, str(error)) from error


def pack(lines: Iterable[bytes]) -> bytes:
    """Return the compressed stream of these lines."""
    return zlib.compress(b"".join(line + b"\n" for line in lines), 6)


def path(host: str, what: str) -> str:
    """Return the name of a host's file: opening, beats, records or close."""
    return f"hosts/{host}/{_NAMES[what]}"


def _require_files(files: Mapping[str, bytes]) -> None:
    for name in (GRANT, KEYS, MANIFEST):
        if name not in files:
            raise Rejected(Flaw.FILES, name, "missing")
    for name in sorted(files):
        matched = _HOST_FILE.fullmatch(name)
        if name not in (GRANT, KEYS, MANIFEST) and (matched is None or name != path(matched[1], matched[2])):
            raise Rejected(Flaw.FILES, name, "does not belong into a bundle")
    for host in _hosts(files):
        for what in ("opening", "beats", "records"):
            if path(host, what) not in files:
                raise Rejected(Flaw.FILES, path(host, what), "missing")


def _hosts(files: Mapping[str, bytes]) -> Iterator[str]:
    yield from sorted({matched[1] for name in files if (matched := _HOST_FILE.fullmatch(name))})


def _grant(data: bytes, keyring: Keyring, trust: Trust) -> Grant:
    signed = envelope.decode(data, GRANT)
    grant, _ = statement.decode(signed.payload, Grant, GRANT)
    customer = keys.parse(grant.customer_algorithm, grant.customer_public, GRANT)
    if trust.customer is not None and trust.customer.keyid != customer.keyid:
        raise Rejected(Flaw.SIGNER, GRANT, "made out to another customer than the one of the trust root")
    plane, threshold = keyring.of("grant")
    found = envelope.signers(signed, {**plane, customer.keyid: customer}, GRANT)
    if customer.keyid not in found:
        raise Rejected(Flaw.THRESHOLD, GRANT, "expected the customer's signature, found none")
    if len(found & set(plane) - {customer.keyid}) < threshold:
        raise Rejected(Flaw.THRESHOLD, GRANT, f"expected {threshold} signatures of the control plane, found fewer")
    keyring.require_good(found & set(plane), grant.start_ns, GRANT)
    _require_sense(grant)
    return grant


def _require_sense(grant: Grant) -> None:
    gpus = [gpu for host in grant.hosts.values() for gpu in host.gpus]
    agents = [_agent(grant, host).keyid for host in grant.hosts]
    wrong = [
        what
        for what, holds in (
            ("a window that ends after it starts", grant.start_ns < grant.end_ns),
            (f"a mode of {', '.join(MODES)}", grant.mode in MODES),
            (f"a level of {', '.join(LEVELS)}: this verifier knows no other", grant.level in LEVELS),
            ("each GPU once", len(set(gpus)) == len(gpus)),
            ("another agent key for each host", len(set(agents)) == len(agents)),
            ("each required source once", len(set(grant.required)) == len(grant.required)),
            (
                f"required sources of {', '.join(sorted(observation.SOURCES))}",
                set(grant.required) <= observation.SOURCES,
            ),
        )
        if not holds
    ]
    if wrong:
        raise Rejected(Flaw.GRANT, GRANT, f"expected {wrong[0]}")


def _agent(grant: Grant, host: str) -> PublicKey:
    entry = grant.hosts[host]
    return keys.parse(entry.agent_algorithm, entry.agent_public, f"{GRANT}: agent of {host}")


def _manifest(files: Mapping[str, bytes], keyring: Keyring, grant_digest: str) -> Manifest:
    signed = envelope.decode(files[MANIFEST], MANIFEST)
    manifest, _ = statement.decode(signed.payload, Manifest, MANIFEST)
    keyring.require(signed, "manifest", manifest.made_ns, MANIFEST)
    if manifest.grant != grant_digest:
        raise Rejected(Flaw.BOOKING, MANIFEST, "belongs to another grant")
    listed, there = set(manifest.files), set(files) - {MANIFEST}
    if listed != there:
        raise Rejected(Flaw.FILES, sorted(listed ^ there)[0], "listed but missing, or there but not listed")
    for name, entry in manifest.files.items():
        if (entry.size_bytes, entry.sha256) != (len(files[name]), envelope.digest(files[name])):
            raise Rejected(Flaw.DIGEST, name, "not the file that the manifest names")
    return manifest


def _testimony(files: Mapping[str, bytes], host: str, grant: Grant, grant_digest: str, keyring: Keyring) -> Testimony:
    gpus = grant.hosts[host].gpus
    court = Court(grant=grant, grant_digest=grant_digest, agent=_agent(grant, host), gpus=gpus, keyring=keyring)
    opening = Signed(data=files[path(host, "opening")], where=path(host, "opening"))
    close_name = path(host, "close")
    close = _pair(files[close_name], close_name) if close_name in files else None
    beats_name = path(host, "beats")
    beats = (
        _pair(line, f"{beats_name}:{number}") for number, line in enumerate(unpack(files[beats_name], beats_name), 1)
    )
    return hear(court, opening, beats, close, unpack(files[path(host, "records")], path(host, "records")))


def _pair(data: bytes, where: str) -> Pair:
    """A heartbeat or close and its countersignature: two envelopes, parted by a space, which stands in neither."""
    said, space, confirmed = data.partition(b" ")
    if not space:
        raise Rejected(Flaw.ENVELOPE, where, "expected two envelopes parted by a space")
    return Pair(
        said=Signed(data=said, where=where), confirmed=Signed(data=confirmed, where=f"{where} (countersignature)")
    )
