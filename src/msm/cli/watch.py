"""`msm watch`: the values of a device while they change."""

from __future__ import annotations

from msm.cli.app import app
from msm.cli.device import (
    Count,
    Endpoint,
    Json,
    Names,
    Period,
    Timeout,
    Type,
    Unit,
    WordOrder,
    connected,
    map_and_names,
    store_of,
)
from msm.cli.live import Seconds, View, follow, link_bar, on_a_screen


@app.command()
def watch(
    endpoint: Endpoint,
    names: Names,
    unit: Unit = 1,
    timeout: Timeout = 1.0,
    period: Period = 0.2,
    seconds: Seconds = None,
    type_: Type = "word",
    count: Count = 1,
    word_order: WordOrder = "little",
    as_json: Json = False,
) -> None:
    """Show values live, as a table; in a pipe, a line for each change. Ctrl+C ends it.

    Example: `msm watch tcp://192.168.0.10 press.toml`

    Without a map: `msm watch tcp://192.168.0.10 holding:100 holding:102 --type float32`

    A terminal goes on when the device is gone, or is not there yet, and says so.
    """
    map_file, names = map_and_names(names)
    store = store_of(map_file, names, type_, count, word_order)
    patience = 0.0 if on_a_screen() and not as_json else None
    with connected(store, endpoint, patience, unit=unit, timeout=timeout, period=period) as client:
        follow(View(store, link_bar(client, store)), seconds, as_json=as_json)
