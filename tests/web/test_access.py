"""Who may see the page, from where, and what else is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from msm import DeclarationError
from msm.web.access import PAUSE_AFTER_WRONG
from msm.web.app import Site
from msm.web.feed import Feed
from msm.web.settings import WebSettings
from tests.web.press import Press

TOKEN = "correct-horse"
HERE = "http://127.0.0.1:8080"
AFAR = "192.168.0.20"


@contextmanager
def visitor(base_url: str = HERE, **keywords: Any) -> Iterator[TestClient]:
    """A browser on a site with these settings."""
    store = Press()
    feed = Feed(store, None, 0.05)
    feed.look(0.0)
    with TestClient(
        Site(store, feed, WebSettings(**keywords)).app, base_url=base_url, follow_redirects=False
    ) as client:
        yield client


def is_refused(client: TestClient, **keywords: Any) -> bool:
    """Is the WebSocket not opened at all?"""
    try:
        with client.websocket_connect(f"ws://{client.base_url.netloc.decode()}/live", **keywords) as socket:
            socket.receive_json()
    except WebSocketDisconnect as closed:
        return closed.code == 1008
    return False


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"host": "0.0.0.0"}, "open to the network"),
        ({"host": "::"}, "open to the network"),
        ({"host": "hmi.example.com"}, "open to the network"),
        ({"host": ""}, "not a name or an address"),
        ({"token": "short"}, "token is not a text of at least 8"),
        ({"token": ""}, "token is not a text of at least 8"),
        ({"basic": ("anna", "short")}, "password is not a text of at least 8"),
        ({"basic": ("an:na", "long enough")}, "no user"),
        ({"basic": "anna"}, "not a pair"),
        ({"port": 70000}, "port=70000"),
        ({"max_pages": 0}, "max_pages=0"),
        ({"period": 0.001}, "period=0.001"),
        ({"hosts": "hmi.example.com"}, "one string"),
    ],
)
def test_what_cannot_be_is_told_at_once(keywords: dict[str, Any], told: str) -> None:
    with pytest.raises(DeclarationError, match=told) as error:
        WebSettings(**keywords)
    assert "short" not in str(error.value)  # no secret in a message


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.7", "::1", "[::1]"])
def test_this_computer_needs_no_secret(host: str) -> None:
    WebSettings(host=host)


def test_beyond_this_computer_a_secret_will_do() -> None:
    WebSettings(host="0.0.0.0", token=TOKEN)
    WebSettings(host="0.0.0.0", basic=("anna", "long enough"))


def test_the_page_says_what_it_may_load() -> None:
    with visitor() as client:
        page = client.get("/")
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "http" not in page.text.replace("http-equiv", "")  # nothing from elsewhere


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", "192.168.0.20:8080", "", "[", "a@b@"])
def test_a_name_that_is_not_ours_is_refused(host: str) -> None:
    """As by a foreign page whose name has been made to mean 127.0.0.1 (DNS rebinding)."""
    with visitor() as client:
        assert client.get("/", headers={"host": host}).status_code == 421
        assert is_refused(client, headers={"host": host})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "hmi.example.com"])
def test_our_names_are_known(host: str) -> None:
    with visitor(hosts=["HMI.example.com"]) as client:
        assert client.get("/", headers={"host": host}).status_code == 200


def test_open_to_the_network_it_is_reached_by_address_and_not_by_any_name() -> None:
    with visitor(f"http://{AFAR}:8080", host="0.0.0.0", token=TOKEN) as client:
        assert client.get("/login").status_code == 200
        assert client.get("/login", headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "file://127.0.0.1:8080"])
def test_a_page_of_another_server_can_neither_look_nor_write(origin: str) -> None:
    with visitor(token=TOKEN) as client:
        client.get("/", params={"token": TOKEN})
        assert client.get("/").status_code == 200
        assert is_refused(client, headers={"origin": origin})
        assert not is_refused(client, headers={"origin": HERE})
        assert client.post("/login", data={"token": TOKEN}, headers={"origin": origin}).status_code == 403


def test_a_token_in_the_address_becomes_a_cookie() -> None:
    with visitor(token=TOKEN) as client:
        assert client.get("/").headers["location"] == "/login"
        entered = client.get("/", params={"token": TOKEN})
        assert entered.headers["location"] == "/"
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/").status_code == 200
        assert client.get("/trends", params={"name": "speed"}).status_code == 200
        assert not is_refused(client)


@pytest.mark.parametrize("path", ["/trends?name=speed", "/layout.svg", "/alive", "/?token=wrong", "/?token=%F0%9F"])
def test_without_the_token_there_is_nothing(path: str) -> None:
    with visitor(token=TOKEN) as client:
        answer = client.get(path)
        assert answer.status_code == 401 or answer.headers["location"] == "/login"
        assert "speed" not in answer.text
        assert is_refused(client)
        assert is_refused(client, headers={"authorization": "Bearer wrong", "cookie": "msm-8080=wrong"})


def test_who_guesses_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("msm.web.access.asyncio.sleep", sleep)
    with visitor(token=TOKEN) as client:
        client.get("/", params={"token": "wrong"})
        client.get("/layout.svg", headers={"authorization": "Bearer wrong"})
        client.post("/login", data={"token": "wrong"})
        assert pauses == [PAUSE_AFTER_WRONG] * 3
        client.get("/")
        client.get("/", params={"token": TOKEN})
        client.post("/login", data={"token": TOKEN})
        assert len(pauses) == 3


def test_a_program_presents_the_token_as_a_bearer() -> None:
    with visitor(token=TOKEN) as client:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/layout.svg", headers=bearer).status_code == 200
        assert not is_refused(client, headers=bearer)


def test_the_login_page_lets_in_who_knows_the_token() -> None:
    with visitor(token=TOKEN) as client:
        assert "Log in" in client.get("/login").text
        wrong = client.post("/login", data={"token": "<b>wrong</b>"})
        assert wrong.status_code == 401
        assert "That is not the token." in wrong.text
        assert "<b>" not in wrong.text
        assert client.post("/login", content=b"token=" + b"x" * 2000).status_code == 413
        assert client.post("/login", data={"token": TOKEN}).headers["location"] == "/"
        assert client.get("/").status_code == 200


def test_without_a_token_nobody_logs_in() -> None:
    with visitor(basic=("anna", "long enough")) as client:
        assert client.post("/login", data={"token": ""}).status_code == 401


def test_basic_authentication() -> None:
    def told(text: str) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    with visitor(basic=("anna", "löng enough")) as client:
        asked = client.get("/")
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic ")
        for wrong in (told("anna:long enough"), told("bert:löng enough"), {"authorization": "Basic %%%"}):
            assert client.get("/", headers=wrong).status_code == 401
        for open_to_all in ("/static/style.css", "/login", "/"):
            assert "set-cookie" not in client.get(open_to_all).headers
        assert is_refused(client)
        assert client.get("/", headers=told("anna:löng enough")).status_code == 200
        assert not is_refused(client)  # by the cookie: not every browser sends the password with a WebSocket


def test_the_files_of_the_page_are_no_way_out_of_their_directory() -> None:
    with visitor() as client:
        assert client.get("/static/main.js").status_code == 200
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"):
            assert client.get(path).status_code == 404


def test_the_layout_is_a_picture_without_scripts() -> None:
    with visitor() as client:
        picture = client.get("/layout.svg")
        assert picture.headers["content-type"].startswith("image/svg+xml")
        assert picture.headers["content-security-policy"].startswith("default-src 'none'")
        assert "setpoint" in picture.text


def test_trends_are_of_known_variables_and_not_of_too_many() -> None:
    with visitor() as client:
        assert client.get("/trends", params={"name": "nix"}).status_code == 404
        assert client.get("/trends", params={"name": ["speed"] * 17}).status_code == 400
        told = client.get("/trends", params={"name": ["speed", "pieces"]}).json()
        assert len(told["times"]) == len(told["numbers"]["speed"]) == len(told["numbers"]["pieces"]) == 1
