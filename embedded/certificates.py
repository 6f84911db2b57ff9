"""Certificates by which the parts of the S3 server know each other, and refuse everybody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from pipeline.files import private_folder, write_private

AUTHORITY = "authority.pem"
CERTIFICATE = "certificate.pem"
KEY = "key.pem"

# Longer than any server runs; each start makes new ones.
_DAYS_VALID = 3650


def write_certificates(folder: Path) -> None:
    """Make an authority and one certificate that serves both as a server's and as a client's, for TLS on both sides.

    The authority's key is kept nowhere, so there will never be a second certificate that it vouches for.

    Args:
        folder: gets the files `authority.pem`, `certificate.pem` and `key.pem`, in place of those that are there.
            It and they are their owner's alone.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.now(UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "deepcvr embedded authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "deepcvr embedded S3")])
    builder = (
        x509.CertificateBuilder()
        .issuer_name(authority_name)
        .not_valid_before(now - timedelta(days=1))  # a clock that is set back must not stop the server
        .not_valid_after(now + timedelta(days=_DAYS_VALID))
    )
    authority = (
        builder.subject_name(authority_name)
        .serial_number(x509.random_serial_number())
        .public_key(authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        builder.subject_name(name)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private_folder(folder)
    write_private(folder / AUTHORITY, authority.public_bytes(Encoding.PEM))
    write_private(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM))
    write_private(folder / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
