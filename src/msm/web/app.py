"""The web application: its one page, its files, and the way to each open page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from msm import MemoryStore
from msm.errors import UnknownVariableError
from msm.web.access import PAUSE_AFTER_WRONG, Access
from msm.web.feed import Feed
from msm.web.session import Session
from msm.web.settings import WebSettings

STATIC = Path(__file__).parent / "static"
MOST_TRENDS = 16  # variables that are asked for at a time
LONGEST_FORM = 1024  # bytes
TRY_AGAIN_LATER = 1013
PICTURE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}  # its colours are in the SVG


class Site:
    """What is answered to browsers."""

    def __init__(self, store: MemoryStore, feed: Feed, settings: WebSettings) -> None:
        self._store = store
        self._feed = feed
        self._settings = settings
        self._pages = 0
        self._starlette = Starlette(
            routes=[
                Route("/", self._page),
                Route("/login", self._login, methods=["GET", "POST"]),
                Route("/alive", self._alive),
                Route("/trends", self._trends),
                Route("/layout.svg", self._layout),
                WebSocketRoute("/live", self._live),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        )
        self._access = Access(self._starlette, settings)

    @property
    def app(self) -> ASGIApp:
        """The ASGI application, behind the rules of access."""
        return self._access

    async def _page(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _alive(self, _request: Request) -> Response:
        """A page that was cut off asks whether it is the server that is gone, or whether it has to log in again."""
        return Response(status_code=204)

    async def _layout(self, _request: Request) -> Response:
        return Response(self._store.layout().svg(), media_type="image/svg+xml", headers=PICTURE)

    async def _trends(self, request: Request) -> Response:
        names = request.query_params.getlist("name")
        if len(names) > MOST_TRENDS:
            return PlainTextResponse(f"At most {MOST_TRENDS} variables at a time.\n", 400)
        try:
            return JSONResponse(self._feed.trends(names))
        except UnknownVariableError as error:
            return PlainTextResponse(f"{error}\n", 404)

    async def _login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._login_page("", 200)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_FORM:
                return PlainTextResponse("Too long.\n", 413)
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        if not self._access.is_token(given):
            await asyncio.sleep(PAUSE_AFTER_WRONG)
            return self._login_page("That is not the token.", 401)
        response = RedirectResponse("/", 303)
        self._access.admit(response.headers)
        return response

    def _login_page(self, told: str, status: int) -> Response:
        """:param told: a sentence of ours; nothing that came from outside."""
        return HTMLResponse((STATIC / "login.html").read_text("utf-8").replace("<!-- told -->", told), status)

    async def _live(self, socket: WebSocket) -> None:
        await socket.accept()
        if self._pages >= self._settings.max_pages:
            await socket.close(TRY_AGAIN_LATER, f"{self._pages} pages are open already")
            return
        self._pages += 1
        try:
            await Session(socket, self._feed, self._store, read_only=self._settings.read_only).run()
        finally:
            self._pages -= 1
