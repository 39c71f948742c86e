"""Where the other end is: "tcp://host:502" and its relatives."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from msm.errors import DeclarationError

DEFAULT_PORTS = {"tcp": 502, "tls": 802, "udp": 502, "rtu+tcp": 502, "ascii+tcp": 502}
SERIAL = ("rtu", "ascii")
SCHEMES = (*DEFAULT_PORTS, *SERIAL, "memory")
_IN_PATHS = "/\\:. "  # what stands for itself in a path: the rest is read back only if it is quoted

# Modbus/TCP Security V3.6, and no HMAC-SHA-1. Those of TLS 1.3 have a list of their own.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL"

# The default line: serial line V1.02, section 2.5.1 and the implementation classes of section 4.1.
_SERIAL_DEFAULTS: dict[str, Any] = {"baudrate": 19200, "parity": "E", "bytesize": 0, "stopbits": 0}
_RIGHT = {
    "rtu": "rtu:///dev/ttyUSB0?baudrate=19200&parity=E&stopbits=1",
    "ascii": "ascii:///dev/ttyUSB0?baudrate=9600",
    "memory": "memory://name",
    "tls": "tls://192.168.0.10:802?ca=ca.pem&cert=client.pem&key=client.key",
}


@dataclass(frozen=True, slots=True)
class Line:
    """How a serial line is set."""

    baudrate: int = 19200
    parity: str = "E"
    bytesize: int = 8
    stopbits: float = 1

    @property
    def character(self) -> float:
        """Seconds that one character takes: start bit, data, parity, stop bits."""
        return (1 + self.bytesize + (self.parity != "N") + self.stopbits) / self.baudrate

    @property
    def frame_gap(self) -> float:
        """Seconds of silence that end a frame: 3.5 characters, and 1.75 ms above 19200 baud (section 2.5.1.1)."""
        return 0.00175 if self.baudrate > 19200 else 3.5 * self.character


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed endpoint: `scheme` says how it is spoken, and the rest where."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    line: Line = field(default_factory=Line)
    files: Mapping[str, str] = field(default_factory=dict)
    """Of tls: the paths given as ca, cert and key."""

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read an endpoint as a user writes it.

        :raises DeclarationError: it says which part is wrong and shows a right one.
        """
        if not isinstance(text, str):
            raise _bad(text, f"it is a {type(text).__name__}, not a string")
        text = text.strip()
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise _bad(text, str(error)) from None
        if parts.scheme not in SCHEMES or not text.lower().startswith(f"{parts.scheme}://"):
            raise _bad(text, f"it does not begin with {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        if parts.fragment or parts.username is not None:
            more = "there is more than a host and a port: " if parts.scheme in DEFAULT_PORTS else ""
            raise _bad(text, f"{more}there is no place for '#' or '@' in it")
        if parts.scheme in SERIAL:
            return cls(parts.scheme, path=_device(text, parts), line=_line(text, parts))
        if parts.scheme == "memory":
            name = unquote(parts.netloc + parts.path).strip("/ ")
            if not name or parts.query:
                raise _bad(text, "it needs a name, and nothing else")
            return cls("memory", path=name)
        if parts.path not in ("", "/"):
            raise _bad(text, "there is more than a host and a port")
        if not parts.hostname:
            raise _bad(text, "there is no host")
        return cls(parts.scheme, parts.hostname, _port(text, parts), files=_files(text, parts))

    def at_port(self, port: int) -> Endpoint:
        """The same endpoint at the port that was really bound."""
        return replace(self, port=port)

    @property
    def is_serial(self) -> bool:
        """Is it a serial line?"""
        return self.scheme in SERIAL

    @property
    def has_transactions(self) -> bool:
        """Does a reply say which request it answers?"""
        return self.scheme in ("tcp", "tls", "udp", "memory")

    def __str__(self) -> str:
        if self.is_serial:
            line = self.line
            stopbits = f"{line.stopbits:g}"
            return (
                f"{self.scheme}://{quote(self.path, safe=_IN_PATHS)}?baudrate={line.baudrate}&parity={line.parity}"
                f"&bytesize={line.bytesize}&stopbits={stopbits}"
            )
        if self.scheme == "memory":
            return f"memory://{quote(self.path, safe=_IN_PATHS)}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def tls_context(endpoint: Endpoint, given: ssl.SSLContext | None, *, server: bool) -> ssl.SSLContext:
    """The context for a tls endpoint: the one given, or one made from the files that the endpoint names.

    A server asks its clients for a certificate when `ca` is named, since that is how Modbus/TCP Security (v3.6,
    section 8) knows who they are; a client checks the server's against `ca`, or against what the system trusts.

    :raises DeclarationError: a file is missing or is not what it should be.
    """
    if given is not None:
        return given
    files = endpoint.files
    try:
        if server:
            if "cert" not in files:
                raise _bad(str(endpoint), "a server needs its certificate: tls= or ?cert=server.pem&key=server.key")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if "ca" in files:
                context.load_verify_locations(files["ca"])
                context.verify_mode = ssl.CERT_REQUIRED
        else:
            context = ssl.create_default_context(cafile=files.get("ca"))
        context.set_ciphers(CIPHERS)
        if "cert" in files:
            context.load_cert_chain(files["cert"], files.get("key"))
    except OSError as error:
        named = ", ".join(f"{name}={path}" for name, path in files.items())
        raise DeclarationError(f"endpoint {str(endpoint)!r}: {named}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Modbus/TCP Security v3.6, section 7.1
    return context


def _port(text: str, parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise _bad(text, "the port is not a number from 0 to 65535") from None
    return DEFAULT_PORTS[parts.scheme] if port is None else port


def _device(text: str, parts: SplitResult) -> str:
    path = unquote(parts.netloc + parts.path).strip(" ")
    if not path.strip("/"):
        raise _bad(text, "there is no serial port")
    return path


def _line(text: str, parts: SplitResult) -> Line:
    given = dict(_SERIAL_DEFAULTS)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in given:
            raise _bad(text, f"{name!r} is none of {', '.join(given)}")
        given[name] = value
    checks: dict[str, tuple[Callable[[Any], Any], Callable[[Any], bool], str]] = {
        "baudrate": (int, lambda value: 50 <= value <= 4_000_000, "a number from 50 to 4000000"),
        "parity": (str, lambda value: value in ("N", "E", "O"), "N, E or O"),
        "bytesize": (int, lambda value: value in (0, 7, 8), "7 or 8"),
        "stopbits": (float, lambda value: value in (0, 1, 1.5, 2), "1, 1.5 or 2"),
    }
    values: dict[str, Any] = {}
    for name, (kind, right, allowed) in checks.items():
        try:
            values[name] = kind(given[name])
        except ValueError:
            values[name] = None
        if values[name] is None or not right(values[name]):
            raise _bad(text, f"{name}={given[name]} is not {allowed}")
    # RTU needs all eight bits (section 2.5.1); ASCII has seven (section 2.5.2). Without parity there are two stop bits.
    bytesize = values["bytesize"] or (8 if parts.scheme == "rtu" else 7)
    if parts.scheme == "rtu" and bytesize != 8:
        raise _bad(text, f"bytesize={bytesize} is not 8, and RTU needs all eight")
    stopbits = values["stopbits"] or (2 if values["parity"] == "N" else 1)
    return Line(values["baudrate"], values["parity"], bytesize, stopbits)


def _files(text: str, parts: SplitResult) -> dict[str, str]:
    files = dict(parse_qsl(parts.query, keep_blank_values=True))
    allowed = ("ca", "cert", "key") if parts.scheme == "tls" else ()
    for name in files:
        if name not in allowed:
            if not allowed:
                raise _bad(text, f"there is more than a host and a port: {name!r} is not known here")
            raise _bad(text, f"{name!r} is none of {', '.join(allowed)}")
    return files


def _bad(text: object, why: str) -> DeclarationError:
    scheme = text.split("://", maxsplit=1)[0] if isinstance(text, str) else ""
    right = _RIGHT.get(scheme, f"{scheme if scheme in DEFAULT_PORTS else 'tcp'}://192.168.0.10:502")
    return DeclarationError(f"endpoint {text!r}: {why}; a right one is {right!r}")
