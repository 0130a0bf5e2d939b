"""The lab's own certificate authority, which signs for the lab's registry and for nothing else.

Keys are made here, are readable by their owner only and never leave their directory or enter a command line.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provision.errors import MachineCannot

AUTHORITY_DAYS = 3650
SERVER_DAYS = 365
RENEW_DAYS = 30
CLOCK_SLACK = datetime.timedelta(hours=1)

# What a certificate of each kind may be used for, in the order of x509.KeyUsage's arguments that are true.
_SIGNS_CERTIFICATES = {"key_cert_sign", "crl_sign"}
_SERVES = {"digital_signature"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, two PEM files."""

    certificate: Path
    key: Path


def authority(place: Path, *, name: str, now: datetime.datetime) -> Pair:
    """Give the authority kept in `place`, made if there is none; raises MachineCannot if it is damaged or expired."""
    pair = Pair(certificate=place / "ca.crt", key=place / "private" / "ca.key")
    if not pair.certificate.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"Timelock lab {name}")
        certificate = _builder(subject, subject, key.public_key(), now, AUTHORITY_DAYS, _SIGNS_CERTIFICATES)
        _write(pair, key, certificate.add_extension(_key_id(key), critical=False).sign(key, hashes.SHA256()))
    elif _read(pair)[1].not_valid_after_utc <= now:
        raise MachineCannot(
            f"{pair.certificate}: expected a valid authority, found one that has expired",
            next_step=f"timelock lab down --name {name}, then lab up",
        )
    return pair


def server(issuer: Pair, pair: Pair, *, addresses: tuple[str, ...], now: datetime.datetime) -> bool:
    """See to it that `pair` is a server certificate for these IP addresses; returns whether a new one was made."""
    ca_key, ca_certificate = _read(issuer)
    if _serves(pair, ca_certificate, addresses, now):
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address)) for address in addresses])
    certificate = _builder(_name(addresses[0]), ca_certificate.subject, key.public_key(), now, SERVER_DAYS, _SERVES)
    certificate = certificate.add_extension(names, critical=False)
    certificate = certificate.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    certificate = certificate.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    _write(pair, key, certificate.add_extension(_key_id(key), critical=False).sign(ca_key, hashes.SHA256()))
    return True


def _serves(pair: Pair, ca_certificate: x509.Certificate, addresses: tuple[str, ...], now: datetime.datetime) -> bool:
    """Tell whether the pair is there, is this authority's, names these addresses and has time left."""
    if not (pair.certificate.exists() and pair.key.exists()):
        return False
    try:
        key, certificate = _read(pair)
        certificate.verify_directly_issued_by(ca_certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (MachineCannot, ValueError, InvalidSignature, x509.ExtensionNotFound):
        return False
    same_key = key.public_key() == certificate.public_key()
    wanted = {ipaddress.ip_address(address) for address in addresses}
    enough_time = certificate.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)
    return same_key and wanted == set(names.get_values_for_type(x509.IPAddress)) and enough_time


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
    usage: set[str],
) -> x509.CertificateBuilder:
    purposes = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    is_authority = "key_cert_sign" in usage
    return (
        x509.CertificateBuilder(
            subject_name=subject, issuer_name=issuer, public_key=key, serial_number=x509.random_serial_number()
        )
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.KeyUsage(**{purpose: purpose in usage for purpose in purposes}), critical=True)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_id(key: ec.EllipticCurvePrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _read(pair: Pair) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise MachineCannot(
            f"{pair.certificate}: expected a certificate with its key, found it damaged: {error}",
            next_step="timelock lab down, then lab up",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MachineCannot(
            f"{pair.key}: expected an elliptic-curve key, found another kind",
            next_step="timelock lab down, then lab up",
        )
    return key, certificate


def _write(pair: Pair, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """Write the key, then the certificate: a pair whose certificate is there is whole."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pair.certificate.unlink(missing_ok=True)
    for path, content, mode in (
        (pair.key, private, 0o600),
        (pair.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644),
    ):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        partial.rename(path)
