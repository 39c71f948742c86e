"""Certificates with a role in them, as Modbus/TCP Security V3.6, section 8.4 has it."""

from __future__ import annotations

import datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OID = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")


def utf8_string(text: str) -> bytes:
    data = text.encode()
    assert len(data) < 128
    return bytes((0x0C, len(data))) + data


def certificate(authority: trustme.CA, extension: bytes | None) -> tuple[bytes, bytes]:
    """A certificate whose role extension holds these bytes, and its key; both in PEM."""
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    issuer_key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a panel")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if extension is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(OID, extension), critical=False)
    made = builder.sign(issuer_key, hashes.SHA256())
    return (
        made.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def certificate_with_role(authority: trustme.CA, role: str, certificate_file: str, key_file: str) -> None:
    made, key = certificate(authority, utf8_string(role))
    Path(certificate_file).write_bytes(made)
    Path(key_file).write_bytes(key)
