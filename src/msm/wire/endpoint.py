"""Where the other end is: "tcp://host:502" and its relatives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

from msm.errors import DeclarationError

DEFAULT_PORTS = {"tcp": 502}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed endpoint: `scheme` says how it is spoken, `host` and `port` where."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read an endpoint as a user writes it.

        :raises DeclarationError: it says which part is wrong and shows a right one.
        """
        if not isinstance(text, str):
            raise _bad(text, f"it is a {type(text).__name__}, not a string")
        try:
            parts = urlsplit(text.strip())
        except ValueError as error:
            raise _bad(text, str(error)) from None
        if parts.scheme not in DEFAULT_PORTS or "://" not in text:
            known = ", ".join(f"{scheme}://" for scheme in DEFAULT_PORTS)
            raise _bad(text, f"it does not begin with {known}")
        if parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise _bad(text, "there is more than a host and a port")
        if not parts.hostname:
            raise _bad(text, "there is no host")
        return cls(parts.scheme, parts.hostname, _port(text, parts))

    def at_port(self, port: int) -> Endpoint:
        """The same endpoint at the port that was really bound."""
        return replace(self, port=port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def _port(text: str, parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise _bad(text, "the port is not a number from 0 to 65535") from None
    return DEFAULT_PORTS[parts.scheme] if port is None else port


def _bad(text: object, why: str) -> DeclarationError:
    return DeclarationError(f"endpoint {text!r}: {why}; a right one is 'tcp://192.168.0.10:502'")
