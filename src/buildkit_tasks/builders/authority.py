"""Certificates for mutual TLS with builder nodes: a CA, and certificates for nodes and clients.

BuildKit and buildx use PEM files: https://docs.docker.com/build/builders/drivers/remote/#example-remote-buildkit-over-mtls
Imported late, because it needs the optional library cryptography.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Days until the CA and the certificates it signs expire: a forgotten builder must not accept clients forever.
AUTHORITY_DAYS = 3650
LEAF_DAYS = 825

#: Certificates are backdated by this much, to be valid on machines with a slow clock.
_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes


def authority(name: str) -> Pair:
    """Return a new CA, which can sign certificates for nodes and clients, but not for other CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(f"{name} authority")
    made = _begun(subject, subject, key, AUTHORITY_DAYS)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_usage(signs=True), critical=True)
    return _signed(made, key, key)


def server(signer: Pair, hosts: Sequence[str]) -> Pair:
    """Return a node certificate for these host names and addresses."""
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _leaf(signer, hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, names)


def client(signer: Pair, name: str) -> Pair:
    """Return a client certificate, which allows its holder to build."""
    return _leaf(signer, name, ExtendedKeyUsageOID.CLIENT_AUTH)


def expiry(certificate: bytes) -> datetime:
    """Return the expiry of a PEM certificate, in UTC."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def _leaf(
    signer: Pair, name: str, use: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None = None
) -> Pair:
    above = x509.load_pem_x509_certificate(signer.certificate)
    signing = load_pem_private_key(signer.key, None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise ValueError("the CA's key is not an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    made = _begun(_named(name), above.subject, key, LEAF_DAYS)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(_usage(signs=False), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    if names:
        made = made.add_extension(names, critical=False)
    return _signed(made, key, signing)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    made: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signing: ec.EllipticCurvePrivateKey
) -> Pair:
    certificate = made.sign(signing, hashes.SHA256())
    return Pair(
        certificate.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
