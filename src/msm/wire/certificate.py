"""The role in a client's certificate (Modbus/TCP Security V3.6, section 8.4). The one place that knows cryptography."""

from __future__ import annotations

from msm.errors import DeclarationError

ROLE = "1.3.6.1.4.1.50316.802.1"
_UTF8_STRING = 0x0C  # the tag of ASN.1, R-22


def need_cryptography() -> None:
    """Certificates can be read only with the package cryptography.

    :raises DeclarationError: it is not installed; the message says how to.
    """
    try:
        import cryptography.x509  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise DeclarationError(
            "roles= reads certificates by the package cryptography, which is not installed: "
            "pip install 'modbus-shared-memory[roles]'"
        ) from None


def role_of(certificate: bytes) -> str | None:
    """The role that a certificate names, or None where it names none.

    :param certificate: in DER.
    :raises ValueError: there is an extension for it, and it is no UTF-8 string, or the certificate is none.
    """
    from cryptography import x509  # noqa: PLC0415

    extensions = x509.load_der_x509_certificate(certificate).extensions
    try:
        extension = extensions.get_extension_for_oid(x509.ObjectIdentifier(ROLE))
    except x509.ExtensionNotFound:
        return None
    value = extension.value
    assert isinstance(value, x509.UnrecognizedExtension)
    return _utf8_string(value.value)


def _utf8_string(der: bytes) -> str:
    """What an ASN.1 UTF8String holds (ITU-T X.690, sections 8.1.3 and 8.23)."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise ValueError(f"the role is no UTF8String: {der.hex(' ')}")
    size, start = der[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    if len(der) != start + size:
        raise ValueError(f"the role is {len(der) - start} bytes long, not {size}")
    return der[start:].decode("utf-8")
