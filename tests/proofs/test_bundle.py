"""What is malformed or forged is rejected, each time for its own reason; nothing that was changed is accepted."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs import archive, bundle, envelope, keys, records, statement
from proofs.envelope import Envelope
from proofs.errors import Flaw, Rejected
from proofs.keys import P256_ORDER
from proofs.statement import Grant
from proofs.trust import Trust
from tests.proofs.world import (
    T1_NS,
    Host,
    World,
    digest,
    sealed,
    signed_payload,
    signer,
    world,
)

Files = dict[str, bytes]
HOST = "lab-a1"
RECORDS, BEATS, CLOSE, OPENING = (bundle.path(HOST, what) for what in ("records", "beats", "close", "opening"))
SMALL = world(from_s=-15, until_s=31, window_s=15, least_coverage_ppm=0)


@cache
def honest() -> Mapping[str, bytes]:
    return SMALL.files()


def flaw(files: Mapping[str, bytes], trust: Trust | None = None) -> Flaw:
    with pytest.raises(Rejected) as rejected:
        bundle.read(files, trust or SMALL.trust)
    return rejected.value.flaw


def again(changes: Mapping[str, bytes | None], made: World = SMALL) -> Files:
    """The honest files with some changed (None: left out), and a manifest that the control plane made of that."""
    files = {**made.files(), **changes}
    return made.with_manifest({name: data for name, data in files.items() if data is not None})


def lines(name: str) -> list[bytes]:
    return list(bundle.unpack(honest()[name], name))


def test_an_honest_bundle_is_read() -> None:
    evidence = bundle.read(honest(), SMALL.trust)
    assert evidence.grant.booking == "demo"
    assert evidence.testimonies[HOST].closed


def test_the_archive_of_a_bundle_is_that_bundle() -> None:
    assert archive.unpack(archive.pack(honest())) == honest()


# --- files


@pytest.mark.parametrize("name", [bundle.GRANT, bundle.KEYS, bundle.MANIFEST, RECORDS, BEATS, OPENING])
def test_a_missing_file(name: str) -> None:
    assert flaw({each: data for each, data in honest().items() if each != name}) is Flaw.FILES


@pytest.mark.parametrize(
    "name", ["readme.txt", f"hosts/{HOST}/more.json", f"hosts/{HOST}/close.jsonl.zlib", "../x", "keys.json2"]
)
def test_a_file_too_many(name: str) -> None:
    assert flaw(again({name: b""})) is Flaw.FILES


def test_a_host_too_many_or_too_few() -> None:
    renamed = {name.replace(HOST, "lab-a9"): data for name, data in honest().items()}
    assert flaw(SMALL.with_manifest({**honest(), **renamed})) is Flaw.FILES
    assert flaw(SMALL.with_manifest(renamed)) is Flaw.FILES


def test_a_file_that_is_not_the_listed_one() -> None:
    for name in (RECORDS, BEATS, CLOSE, OPENING):
        changed = {**honest(), name: honest()[name] + b"\n"}
        assert flaw(changed) is Flaw.DIGEST


def test_a_file_that_is_listed_but_left_out() -> None:
    assert flaw({name: data for name, data in honest().items() if name != CLOSE}) is Flaw.FILES


# --- signatures


def swapped(data: bytes, change: Callable[[Envelope], Envelope]) -> bytes:
    return change(envelope.decode(data, "x")).encode()


def test_another_root_is_nobody() -> None:
    other = Trust(root={signer("mallory").public.keyid: signer("mallory").public}, threshold=1)
    assert flaw(honest(), other) is Flaw.SIGNER


def test_one_root_key_is_too_few_where_two_are_due() -> None:
    made = world(root_signers=1)
    assert flaw(made.files(), made.trust) is Flaw.THRESHOLD


@pytest.mark.parametrize("name", [bundle.GRANT, bundle.MANIFEST, bundle.KEYS, OPENING])
def test_a_signature_of_somebody_else(name: str) -> None:
    payload = envelope.decode(honest()[name], name).payload
    files = {**honest(), name: signed_payload(payload, signer("mallory"))}
    assert flaw(files if name in (bundle.MANIFEST, bundle.KEYS) else SMALL.with_manifest(files)) is Flaw.SIGNER


def test_a_signature_over_something_else() -> None:
    def flip(found: Envelope) -> Envelope:
        payload = found.payload.replace(b'"demo"', b'"dem0"')
        return Envelope(payload=payload, signatures=found.signatures)

    assert flaw({**honest(), bundle.GRANT: swapped(honest()[bundle.GRANT], flip)}) is Flaw.SIGNATURE


@pytest.mark.parametrize("cut", [slice(0, 63), slice(0, 0)])
def test_a_signature_cut_short_or_empty(cut: slice) -> None:
    def shorten(found: Envelope) -> Envelope:
        return Envelope(payload=found.payload, signatures={k: v[cut] for k, v in found.signatures.items()})

    assert flaw({**honest(), bundle.MANIFEST: swapped(honest()[bundle.MANIFEST], shorten)}) is Flaw.SIGNATURE


def test_a_grant_that_the_customer_did_not_sign() -> None:
    payload = envelope.decode(honest()[bundle.GRANT], "x").payload
    files = {**honest(), bundle.GRANT: signed_payload(payload, signer("grant"))}
    assert flaw(files) is Flaw.THRESHOLD


def test_a_grant_that_the_control_plane_did_not_sign() -> None:
    payload = envelope.decode(honest()[bundle.GRANT], "x").payload
    assert flaw({**honest(), bundle.GRANT: signed_payload(payload, signer("customer"))}) is Flaw.THRESHOLD


def test_a_grant_made_out_to_another_customer() -> None:
    other = Trust(root=SMALL.trust.root, threshold=2, customer=signer("mallory").public)
    assert flaw(honest(), other) is Flaw.SIGNER


def test_the_second_form_of_a_p256_signature() -> None:
    made = World(hosts=(Host(algorithm="p256", from_s=-15, until_s=31),), window_s=15)
    said, _, confirmed = next(bundle.unpack(made.files()[BEATS], BEATS)).partition(b" ")

    def mirrored(found: Envelope) -> Envelope:
        ((keyid, value),) = found.signatures.items()
        s = P256_ORDER - int.from_bytes(value[32:], "big")
        return Envelope(payload=found.payload, signatures={keyid: value[:32] + s.to_bytes(32, "big")})

    bundle.read(made.files(), made.trust)
    beats = [swapped(said, mirrored) + b" " + confirmed, *list(bundle.unpack(made.files()[BEATS], BEATS))[1:]]
    assert flaw(again({BEATS: bundle.pack(beats)}, made), made.trust) is Flaw.SIGNATURE


def test_a_revoked_key() -> None:
    made = world(revoked={signer("witness").public.keyid: T1_NS})
    assert flaw(made.files(), made.trust) is Flaw.REVOKED
    later = world(revoked={signer("witness").public.keyid: T1_NS + 10**15})
    bundle.read(later.files(), later.trust)


# --- forms


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'":"', b'": "', 1),
        lambda data: b" " + data,
        lambda data: data + b"\n",
        lambda data: data.replace(b'{"payload"', b'{"payload":"","payload"', 1),
        lambda data: b"\xff\xfe",
        lambda data: b"",
    ],
    ids=["space", "before", "after", "key twice", "not UTF-8", "empty"],
)
def test_an_envelope_in_another_form(change: Callable[[bytes], bytes]) -> None:
    assert flaw({**honest(), bundle.KEYS: change(honest()[bundle.KEYS])}) is Flaw.ENCODING


def test_base64_in_another_form() -> None:
    wire = json.loads(honest()[bundle.KEYS])
    for text in ("eB==", wire["payload"] + "\n", wire["payload"].rstrip("=") + "A", "é"):
        changed = {**wire, "payload": text}
        data = json.dumps(changed, separators=(",", ":"), ensure_ascii=False).encode()
        assert flaw({**honest(), bundle.KEYS: data}) is Flaw.ENCODING


@pytest.mark.parametrize(
    "change",
    [
        {"payloadType": "text/plain"},
        {"signatures": []},
        {"signatures": [{"keyid": "0" * 64, "sig": ""}] * 2},
        {"signatures": [{"keyid": "short", "sig": ""}]},
        {"more": 1},
    ],
)
def test_an_envelope_of_another_shape(change: dict[str, object]) -> None:
    wire = {**json.loads(honest()[bundle.KEYS]), **change}
    data = json.dumps(wire, separators=(",", ":"), sort_keys=True).encode()
    assert flaw({**honest(), bundle.KEYS: data}) is Flaw.ENVELOPE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"urn:timelock:proof:keys:v1", b"urn:timelock:proof:keys:v2"),
        (b"urn:timelock:proof:keys:v1", b"urn:timelock:proof:grant:v1"),
        (b"https://in-toto.io/Statement/v1", b"https://in-toto.io/Statement/v0"),
        (b'"version":1', b'"version":1.0'),
        (b'"version":1', b'"version":-1'),
        (b'"version":1', b'"version":99999999999999999999'),
        (b'"version":1', b'"version":"1"'),
        (b'"version":1', b'"version":true'),
        (b'"version":1', b'"version":NaN'),
    ],
)
def test_a_statement_of_another_kind_or_shape(old: bytes, new: bytes) -> None:
    payload = envelope.decode(honest()[bundle.KEYS], "x").payload.replace(old, new)
    files = {**honest(), bundle.KEYS: signed_payload(payload, signer("root 0"), signer("root 1"))}
    assert flaw(files) in (Flaw.STATEMENT, Flaw.ENCODING)


WEAK = [bytes(32), (1).to_bytes(32, "little"), bytes([0xEC, *[0xFF] * 30, 0x7F])]
"""Points of order 4, 1 and 2."""


@pytest.mark.parametrize("point", WEAK)
def test_a_key_of_small_order_is_no_key(point: bytes) -> None:
    text = keys.encode_base64(point)
    weak = {HOST: statement.GrantedHost(agent_algorithm="ed25519", agent_public=text, gpus=("GPU-1",))}
    made = world(change_grant=lambda grant: replace_grant(grant, hosts=weak))
    grant = sealed(made.grant, "request", digest("request"), signer("grant"), signer("customer"))
    assert flaw({**honest(), bundle.GRANT: grant}) is Flaw.WEAK_KEY


def test_an_unknown_algorithm() -> None:
    def odd(grant: Grant) -> Grant:
        host = statement.GrantedHost(agent_algorithm="rsa", agent_public="AAAA", gpus=("GPU-1",))
        return replace_grant(grant, hosts={HOST: host})

    grant = sealed(world(change_grant=odd).grant, "request", digest("r"), signer("grant"), signer("customer"))
    assert flaw({**honest(), bundle.GRANT: grant}) is Flaw.ALGORITHM


def replace_grant(grant: Grant, **changes: object) -> Grant:
    return msgspec.structs.replace(grant, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"end_ns": T1_NS},
        {"mode": "off"},
        {"level": "L2"},
        {"required": ("gate", "gate")},
        {"required": ("tea-leaves",)},
    ],
)
def test_a_grant_without_sense(changes: dict[str, object]) -> None:
    made = world(change_grant=lambda grant: replace_grant(grant, **changes))
    assert flaw(made.files(), made.trust) is Flaw.GRANT


def test_one_gpu_or_one_agent_twice_in_a_grant() -> None:
    twins = World(hosts=(Host(), Host(name="lab-a2")))
    assert flaw(twins.files(), twins.trust) is Flaw.GRANT


# --- the chain


def rewritten(change: Callable[[list[bytes]], list[bytes]]) -> Files:
    return again({RECORDS: bundle.pack(change(lines(RECORDS)))})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda found: found[:-1], Flaw.CHAIN),
        (lambda found: found[1:], Flaw.CHAIN),
        (lambda found: [*found[:9], *found[10:]], Flaw.CHAIN),
        (lambda found: [found[1], found[0], *found[2:]], Flaw.CHAIN),
        (lambda found: [*found[:9], found[8], *found[9:]], Flaw.CHAIN),
        (lambda found: [*found[:9], found[9].replace(b'"pid":4242', b'"pid":4243'), *found[10:]], Flaw.CHAIN),
        (lambda found: [], Flaw.CHAIN),
        (lambda found: [*found, found[-1]], Flaw.CLOSED),
    ],
    ids=["tail", "first", "middle", "order", "twice", "edited", "none", "after the close"],
)
def test_records_that_are_not_those_countersigned(change: Callable[[list[bytes]], list[bytes]], expected: Flaw) -> None:
    assert flaw(rewritten(change)) is expected


def test_records_after_the_last_countersignature_do_not_count() -> None:
    made = world(closes=False, from_s=-15, until_s=40, window_s=15)
    counted = bundle.read(made.files(), made.trust).testimonies[HOST]
    written = list(bundle.unpack(made.files()[RECORDS], RECORDS))
    assert 0 < counted.count < len(written)


@pytest.mark.parametrize(
    "line",
    [
        b'{"at_ns":1,"kind":"unheard-of"}',
        b'{"at_ns":1,"kind":"down","more":1,"reason":"x","source":"gate"}',
        b'{"at_ns":-1,"kind":"down","reason":"x","source":"gate"}',
        b'{"at_ns":1e20,"kind":"down","reason":"x","source":"gate"}',
        b'{"kind":"down","reason":"x","source":"gate"}',
        b"not json",
        b"",
        b'{"at_ns":1,"kind":"down","reason":"' + b"x" * 70_000 + b'","source":"gate"}',
    ],
)
def test_a_record_of_another_shape(line: bytes) -> None:
    with pytest.raises(Rejected) as rejected:
        records.decode(line, "record")
    assert rejected.value.flaw in (Flaw.RECORD, Flaw.ENCODING, Flaw.SIZE)


def test_a_record_of_a_gpu_that_is_not_booked() -> None:
    made = world(extra={5: (lambda at: records.Canary(at_ns=at, gpu="GPU-9", seen=True),)})
    assert flaw(made.files(), made.trust) is Flaw.RECORD


def test_a_clock_that_goes_back() -> None:
    made = world(extra={5: (lambda at: records.Canary(at_ns=at - 10**10, gpu="GPU-1", seen=True),)})
    assert flaw(made.files(), made.trust) is Flaw.ORDER


@pytest.mark.parametrize(
    "change", [records.Group(at_ns=0, id=100, parent=300), records.Bind(at_ns=0, booked=300, agent=100)]
)
def test_a_group_that_moves_or_changes_its_meaning(change: records.Record) -> None:
    made = world(extra={5: (lambda at: replace_record(change, at),)})
    assert flaw(made.files(), made.trust) is Flaw.RECORD


def replace_record(record: records.Record, at_ns: int) -> records.Record:
    return msgspec.structs.replace(record, at_ns=at_ns)


# --- heartbeats


def beats(change: Callable[[list[bytes]], list[bytes]]) -> Files:
    return again({BEATS: bundle.pack(change(lines(BEATS)))})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda found: found[1:], Flaw.ORDER),
        (lambda found: found[:-1], Flaw.ORDER),
        (lambda found: [found[1], found[0], *found[2:]], Flaw.ORDER),
        (lambda found: [found[0], *found], Flaw.ORDER),
        (lambda found: [found[0].split(b" ")[0] + b" " + found[1].split(b" ")[1], *found[1:]], Flaw.WITNESS),
        (lambda found: [found[0].split(b" ")[0], *found[1:]], Flaw.ENVELOPE),
        (lambda found: [b" ".join(reversed(found[0].split(b" "))), *found[1:]], Flaw.SIGNER),
    ],
    ids=["first", "last", "order", "twice", "another's countersignature", "none", "swapped"],
)
def test_heartbeats_out_of_place(change: Callable[[list[bytes]], list[bytes]], expected: Flaw) -> None:
    assert flaw(beats(change)) is expected


def test_another_bookings_chain_does_not_fit() -> None:
    other = world(from_s=-15, until_s=31, window_s=16)
    theirs = {name: data for name, data in other.files().items() if name.startswith("hosts/")}
    assert flaw(again(theirs)) is Flaw.BOOKING


def test_another_hosts_chain_does_not_fit() -> None:
    two = World(hosts=(Host(), Host(name="lab-a2", gpus=("GPU-2",))))
    files = two.files()
    for what in ("opening", "beats", "records", "close"):
        files[bundle.path("lab-a2", what)] = files[bundle.path(HOST, what)]
    assert flaw(two.with_manifest(files), two.trust) is Flaw.WITNESS


def test_a_manifest_that_is_older_than_what_it_lists() -> None:
    listed = json.loads(base64.b64decode(json.loads(honest()[bundle.MANIFEST])["payload"]))["predicate"]["files"]
    manifest = statement.Manifest(
        grant=SMALL.grant_digest,
        made_ns=T1_NS,
        files={name: statement.FileEntry(**entry) for name, entry in listed.items()},
    )
    files = {**honest(), bundle.MANIFEST: sealed(manifest, "bundle", digest("x"), signer("manifest"))}
    assert flaw(files) is Flaw.ORDER


# --- streams


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-3],
        lambda data: data + b"more",
        lambda data: b"",
        lambda data: zlib.compress(b"no newline"),
    ],
)
def test_a_stream_in_another_form(change: Callable[[bytes], bytes]) -> None:
    assert flaw(again({RECORDS: change(honest()[RECORDS])})) is Flaw.ENCODING


def test_a_stream_that_is_far_larger_than_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "STREAM_LIMIT_BYTES", 10_000)
    assert flaw(again({RECORDS: bundle.pack([b"x" * 100_000])})) is Flaw.SIZE


# --- every byte


ARCHIVE = archive.pack(honest())


@settings(max_examples=2000)
@given(st.integers(0, len(ARCHIVE) - 1), st.integers(1, 255))
def test_no_byte_of_an_archive_can_be_changed(at: int, by: int) -> None:
    changed = ARCHIVE[:at] + bytes([ARCHIVE[at] ^ by]) + ARCHIVE[at + 1 :]
    with pytest.raises(Rejected):
        bundle.read(archive.unpack(changed), SMALL.trust)


@given(st.integers(0, len(ARCHIVE)), st.integers(0, 2000))
def test_no_part_of_an_archive_can_be_cut_out(at: int, length: int) -> None:
    changed = ARCHIVE[:at] + ARCHIVE[at + length :]
    if changed != ARCHIVE:
        with pytest.raises(Rejected):
            bundle.read(archive.unpack(changed), SMALL.trust)
