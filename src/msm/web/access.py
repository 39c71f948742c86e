"""Who may see the page, and from where: names of this server, origins, tokens and passwords.

It stands before everything else that the door answers, also before WebSockets.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import socket
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msm.web.settings import WebSettings, is_loopback

POLICY_VIOLATION = 1008  # a WebSocket that is closed for it before it is open is answered with status 403
OPEN = ("/login", "/static/")  # the page for logging in, and the files of MSM, in which there is nothing to hide
SAFE_METHODS = ("GET", "HEAD")
PAUSE_AFTER_WRONG = 0.3  # seconds before a secret that is none is answered
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with "no-referrer" a form of our own would come from the origin "null"
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class Access:
    """Lets through what comes from this server's own page, and from somebody who may."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings
        self._secret = settings.token or ":".join(settings.basic or ())
        self._names = _names(settings)
        # One for a server that is started anew too, so that open pages come back; it does not tell the secret.
        self._pass = hmac.new(self._secret.encode(), b"msm web", sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection)
        if refusal is not None and refusal.status_code == 401 and _offers(connection):
            await asyncio.sleep(PAUSE_AFTER_WRONG)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._settings.basic is not None and self._may(connection):
                    self.admit(headers)  # not every browser sends the password with a WebSocket
            await send(message)

        await (refusal or self._app)(scope, receive, send_guarded)

    @property
    def _cookie(self) -> str:
        return f"msm-{self._settings.port}"  # cookies of all ports of a host are in one jar

    def admit(self, headers: MutableHeaders) -> None:
        """Give this browser what lets it in from now on."""
        headers.append("set-cookie", f"{self._cookie}={self._pass}; HttpOnly; SameSite=Strict; Path=/")

    def is_token(self, given: str) -> bool:
        """Is this the token?"""
        token = self._settings.token
        return token is not None and _same(given, token)

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        """What is answered in place of what was asked; None where it may be answered."""
        host = connection.headers.get("host", "")
        if not self._is_ours(host):
            return PlainTextResponse("This server is not known by that name.\n", 421)
        writes = connection.scope["type"] == "websocket" or connection.scope["method"] not in SAFE_METHODS
        if writes and not _same_origin(connection.headers, host):
            return PlainTextResponse("Refused: it came from a page of another server.\n", 403)
        if not self._settings.guarded or connection.url.path.startswith(OPEN) or self._may(connection):
            return None
        return self._way_in(connection)

    def _way_in(self, connection: HTTPConnection) -> Response:
        """What is answered to somebody who has not shown that he may."""
        if self.is_token(connection.query_params.get("token", "")):
            response = RedirectResponse("/", 303)  # so that the token does not stay in the address
            self.admit(response.headers)
            return response
        if self._settings.basic is not None:
            return PlainTextResponse(
                "A user and a password are needed.\n", 401, {"www-authenticate": 'Basic realm="MSM", charset="UTF-8"'}
            )
        if connection.url.path == "/" and not _offers(connection):
            return RedirectResponse("/login", 303)
        return PlainTextResponse("The right token is needed: see /login.\n", 401)

    def _may(self, connection: HTTPConnection) -> bool:
        if _same(connection.cookies.get(self._cookie, ""), self._pass):
            return True
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            return self.is_token(given.strip())
        if scheme.casefold() == "basic" and self._settings.basic is not None:
            try:
                told = base64.b64decode(given.strip(), validate=True).decode()
            except (binascii.Error, ValueError):
                return False
            return _same(told, ":".join(self._settings.basic))
        return False

    def _is_ours(self, host: str) -> bool:
        """Is the page reached by a name of this server? Another one is how a foreign page gets at a local server."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        # A name can be made to mean any address; an address means itself.
        return not is_loopback(self._settings.host) and _is_address(name)


def _names(settings: WebSettings) -> frozenset[str]:
    names = {"localhost", "127.0.0.1", "::1", settings.host.strip("[]"), *settings.hosts}
    if not is_loopback(settings.host):
        name = socket.gethostname()
        names |= {name, f"{name}.local"}
    return frozenset(name.casefold() for name in names)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Headers, host: str) -> bool:
    """Is there no origin, as from a program that is no browser, or is it the page of this server?"""
    origin = headers.get("origin")
    if origin is None:
        return True
    scheme, _, where = origin.partition("://")
    return scheme in ("http", "https") and where.casefold() == host.casefold()


def _offers(connection: HTTPConnection) -> bool:
    """Was a secret given? Then somebody may be guessing."""
    return "token" in connection.query_params or "authorization" in connection.headers


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())
