"""`msm web`: the page that shows and sets the variables of a device."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from msm import MemoryStore, ModbusClient
from msm.cli.app import app
from msm.cli.device import Endpoint, MapFile, Period, Timeout, Unit
from msm.errors import DeclarationError


@app.command()
def web(
    endpoint: Endpoint,
    map_file: MapFile,
    unit: Unit = 1,
    timeout: Timeout = 1.0,
    period: Period = 0.2,
    host: Annotated[
        str, typer.Option(help="The name or address to listen at; beyond this computer it needs --token or --basic.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 is any free one.")] = 8080,
    token: Annotated[
        str | None,
        typer.Option(envvar="MSM_WEB_TOKEN", help="A secret of at least 8 characters that the browser has to present."),
    ] = None,
    basic: Annotated[
        str | None,
        typer.Option(metavar="USER:PASSWORD", envvar="MSM_WEB_BASIC", help="What the browser has to ask the user for."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="One more name by which browsers reach this page.")
    ] = None,
    title: Annotated[str, typer.Option(help="What the page is called; by default the endpoint.")] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="Nothing can be set from the page.")] = False,
) -> None:
    """Serve a page that shows and sets the variables of a device, until Ctrl+C.

    Example: `msm web tcp://192.168.0.10 press.toml`

    For a phone: `msm web tcp://192.168.0.10 press.toml --host 0.0.0.0 --token a-long-secret`

    The page is there whether the device is or not, and says how it does.
    """
    try:
        from msm.web import WebServer  # noqa: PLC0415 - starlette and uvicorn are loaded when they are used
    except ImportError as missing:
        raise DeclarationError(str(missing)) from missing
    store = MemoryStore.load(map_file)
    client = ModbusClient(store, endpoint, unit=unit, timeout=timeout, period=period, poll="declared")
    pair = _pair(basic)
    hmi = WebServer(
        store, host, port, client, token=token, basic=pair, hosts=name or (), read_only=read_only,
        title=title or _title(map_file, endpoint),
    )  # fmt: skip
    client.run(wait=0)
    try:
        with hmi:
            print(f"{hmi.url}  (Ctrl+C ends it)", flush=True)
            threading.Event().wait()
    finally:
        client.kill()


def _pair(basic: str | None) -> tuple[str, str] | None:
    if basic is None:
        return None
    user, colon, password = basic.partition(":")
    if not colon:
        raise typer.BadParameter("--basic is USER:PASSWORD")
    return user, password


def _title(map_file: Path, endpoint: str) -> str:
    return f"{map_file.stem} at {endpoint}"
