"""The lab's authority: real certificates, checked by a real TLS library and by their files."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509

from provision.errors import MachineCannot
from provision.lab import ca

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
ADDRESSES = ("10.77.3.1", "127.0.0.1")


@pytest.fixture
def issuer(tmp_path: Path) -> ca.Pair:
    return ca.authority(tmp_path / "ca", name="test", now=NOW)


@pytest.fixture
def pair(tmp_path: Path) -> ca.Pair:
    return ca.Pair(certificate=tmp_path / "own" / "server.crt", key=tmp_path / "own" / "server.key")


def certificate(pair: ca.Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())


def test_authority_is_kept(tmp_path: Path, issuer: ca.Pair) -> None:
    before = issuer.certificate.read_bytes()
    assert ca.authority(tmp_path / "ca", name="test", now=NOW) == issuer
    assert issuer.certificate.read_bytes() == before


def test_keys_are_private(issuer: ca.Pair, pair: ca.Pair) -> None:
    ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)
    for key in (issuer.key, pair.key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def test_directory_of_the_authority_certificate_holds_nothing_else(issuer: ca.Pair) -> None:
    """It is given to skopeo, which takes every file there for a certificate or a key of a client."""
    assert [path.name for path in issuer.certificate.parent.iterdir() if path.is_file()] == ["ca.crt"]


def test_server_certificate_names_its_addresses(issuer: ca.Pair, pair: ca.Pair) -> None:
    assert ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)
    found = certificate(pair)
    found.verify_directly_issued_by(certificate(issuer))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == list(ADDRESSES)


def test_server_may_not_sign(issuer: ca.Pair, pair: ca.Pair) -> None:
    ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)
    extensions = certificate(pair).extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_good_certificate_is_kept(issuer: ca.Pair, pair: ca.Pair) -> None:
    ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)
    before = pair.certificate.read_bytes()
    assert not ca.server(issuer, pair, addresses=tuple(reversed(ADDRESSES)), now=NOW)
    assert pair.certificate.read_bytes() == before


@pytest.mark.parametrize("days", [ca.SERVER_DAYS - ca.RENEW_DAYS + 1, ca.SERVER_DAYS + 1])
def test_certificate_is_renewed_before_it_ends(issuer: ca.Pair, pair: ca.Pair, days: int) -> None:
    ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)
    assert ca.server(issuer, pair, addresses=ADDRESSES, now=NOW + datetime.timedelta(days=days))


def test_other_addresses_other_certificate(issuer: ca.Pair, pair: ca.Pair) -> None:
    ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)
    assert ca.server(issuer, pair, addresses=("10.77.4.1",), now=NOW)


def test_certificate_of_another_authority_is_replaced(tmp_path: Path, issuer: ca.Pair, pair: ca.Pair) -> None:
    ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)
    other = ca.authority(tmp_path / "other", name="test", now=NOW)
    assert ca.server(other, pair, addresses=ADDRESSES, now=NOW)


@pytest.mark.parametrize("damage", [b"", b"not a certificate"])
def test_damaged_server_pair_is_replaced(issuer: ca.Pair, pair: ca.Pair, damage: bytes) -> None:
    ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)
    pair.certificate.write_bytes(damage)
    assert ca.server(issuer, pair, addresses=ADDRESSES, now=NOW)


def test_key_without_certificate_is_what_a_kill_leaves(tmp_path: Path, issuer: ca.Pair) -> None:
    issuer.certificate.unlink()
    again = ca.authority(tmp_path / "ca", name="test", now=NOW)
    assert certificate(again).public_key() is not None


def test_damaged_authority_is_said(tmp_path: Path, issuer: ca.Pair) -> None:
    issuer.certificate.write_bytes(b"not a certificate")
    with pytest.raises(MachineCannot, match="damaged") as refusal:
        ca.authority(tmp_path / "ca", name="test", now=NOW)
    assert "lab down" in refusal.value.next_step


def test_expired_authority_is_said(tmp_path: Path, issuer: ca.Pair) -> None:
    with pytest.raises(MachineCannot, match="expired"):
        ca.authority(tmp_path / "ca", name="test", now=NOW + datetime.timedelta(days=ca.AUTHORITY_DAYS + 1))
    assert issuer.certificate.exists()
