"""The keywords of the web door: their defaults, their limits, and what is said when one is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypedDict

from msm.errors import DeclarationError

SHORTEST_TOKEN = 8


class WebKeywords(TypedDict, total=False):
    """The keywords of `serve`, `WebServer` and `AsyncWebServer`; `WebSettings` says what they mean."""

    token: str | None
    basic: tuple[str, str] | None
    read_only: bool
    hosts: Sequence[str]
    title: str
    period: float
    max_pages: int


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The keywords of the web door, with their defaults.

    :raises DeclarationError: a keyword is outside its limits, or the page would be open to the network for everybody.
    """

    host: str = "127.0.0.1"
    """The name or address to listen at. Beyond this computer only with `token` or `basic`."""
    port: int = 8080
    """The port to listen at; 0 asks for any free port."""
    token: str | None = None
    """A secret of at least 8 characters that a browser has to present, by its address or by the login page."""
    basic: tuple[str, str] | None = None
    """A user and a password, of at least 8 characters, that the browser asks for."""
    read_only: bool = False
    """Nothing can be set from the page."""
    hosts: Sequence[str] = ()
    """More names by which browsers reach this page, as behind a proxy, e.g. ("hmi.example.com",)."""
    title: str = ""
    """What the page is called; by default the endpoint of the client."""
    period: float = 0.25
    """Seconds between two looks at the memory, and so between two messages to a page: 0.05 to 60."""
    max_pages: int = 16
    """Pages that may be open at a time, 1 to 1000."""

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) or not self.host:
            raise DeclarationError(f"host={self.host!r} is not a name or an address to listen at")
        _whole("port", self.port, 0, 65535)
        _whole("max_pages", self.max_pages, 1, 1000)
        if isinstance(self.period, bool) or not isinstance(self.period, (int, float)) or not 0.05 <= self.period <= 60:
            raise DeclarationError(f"period={self.period!r} is not a number of seconds from 0.05 to 60")
        if isinstance(self.hosts, str):
            raise DeclarationError(f"hosts={self.hosts!r} is one string: give a list of them")
        if self.token is not None:
            _secret("token", self.token)
        if self.basic is not None:
            _check_basic(self.basic)
        if not self.guarded and not is_loopback(self.host):
            raise DeclarationError(
                f"host={self.host!r} is open to the network: give a token of at least {SHORTEST_TOKEN} characters, "
                "or a user and a password (basic)"
            )

    @property
    def guarded(self) -> bool:
        """Does a browser have to present something?"""
        return self.token is not None or self.basic is not None


def is_loopback(host: str) -> bool:
    """Is this a name or an address of this computer that no other one reaches?"""
    if host.casefold() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_basic(basic: Any) -> None:
    if not isinstance(basic, tuple) or len(basic) != 2 or not isinstance(basic[0], str):
        raise DeclarationError("basic is not a pair of a user and a password")
    user, password = basic
    if not user or ":" in user:
        raise DeclarationError(f"basic: {user!r} is no user: it has at least one character, and no colon")
    _secret("basic: the password", password)


def _secret(what: str, secret: Any) -> None:
    """The secret itself is not told: messages end in logs."""
    if not isinstance(secret, str) or len(secret) < SHORTEST_TOKEN or not secret.isprintable():
        raise DeclarationError(f"{what} is not a text of at least {SHORTEST_TOKEN} printable characters")


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise DeclarationError(f"{name}={value!r} is not a whole number from {low} to {high}")
