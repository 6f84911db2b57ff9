"""Certificates of the tests' own."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """A certificate authority's file, and those of a server that it has signed."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def server_options(self) -> list[str]:
        """What makes a MySQL server use them."""
        return [f"--ssl-ca={self.ca}", f"--ssl-cert={self.certificate}", f"--ssl-key={self.key}"]


def create_authority(folder: Path, *, address: str) -> Authority:
    """Make an authority, and let it sign the certificate of a server at an IP address."""
    authority = Authority(folder / "ca.pem", folder / "server-cert.pem", folder / "server-key.pem")
    ca_key, ca_name = ec.generate_private_key(ec.SECP256R1()), _name(f"authority in {folder.name}")
    ca = _builder(ca_name, ca_name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    authority.ca.write_bytes(_pem(ca, ca_key))
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    server = _builder(_name(address), ca_name, key).add_extension(names, critical=False)
    authority.certificate.write_bytes(_pem(server, ca_key))
    authority.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return authority


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=7))


def _pem(builder: x509.CertificateBuilder, signing_key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
