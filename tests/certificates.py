"""Certificates for the tests, made by them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import trustme


@dataclass
class Certificates:
    """An authority, and contexts with certificates of it for both ends."""

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext


def make_certificates() -> Certificates:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context()
    authority.configure_trust(client)
    authority.issue_cert("hmi@press.example").configure_cert(client)
    return Certificates(authority, server, client)
