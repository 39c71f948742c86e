"""`msm watch`: the values of a device while they change."""

from __future__ import annotations

import time
from collections.abc import Callable

from msm import LinkState, MemoryStore, ModbusClient
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
from msm.cli.live import Seconds, View, follow, on_a_screen
from msm.cli.screen import Bar, age


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


def link_bar(client: ModbusClient, store: MemoryStore) -> Callable[[], Bar]:
    """What is told of a client's link: state, cycle time, errors; and in words, what is wrong."""
    start = time.monotonic()

    def bar() -> Bar:
        stats, online = client.stats, client.state is LinkState.ONLINE
        errors = ", ".join(f"{count} {kind}" for kind, count in stats.errors.items())
        facts = [
            client.endpoint,
            f"cycle {1000 * stats.cycle_time:.1f} ms",
            f"{stats.cycles} polls",
            f"errors: {errors}" if errors else "no errors",
            f"up {age(time.monotonic() - start)}",
        ]
        bad = any(store.info(name).quality == "bad" for name in store.variables())
        wrong = client.diagnose().split("\n")[0].replace(f"{client.endpoint}: ", "") if bad or not online else ""
        return Bar(client.state.value, well=online, facts=facts, told=wrong)

    return bar
