"""A memory that is looked at while it changes: as a table on a terminal, in a pipe as plain lines."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.live import Live

from msm import Change, ChangeStream, LinkState, LinkTimeoutError, MemoryStore, ModbusClient, MsmError
from msm.cli.keyboard import Keyboard, keyboard
from msm.cli.screen import Bar, Screen, age
from msm.cli.text import plain, shown
from msm.memory.textwidth import printable

Seconds = Annotated[
    float | None, typer.Option("--seconds", min=0, help="End by itself after so many seconds.", show_default=False)
]

TICK = 0.1  # seconds between two looks


class Told(NamedTuple):
    """What is told to whoever typed."""

    text: str
    wrong: bool


@dataclass
class View:
    """What is looked at, and how.

    :param store: the memory.
    :param bar: what to say of its link just now.
    :param command: does what was typed, and says what it has done; without it nothing can be typed.
    :param tick: called again and again, with the seconds since the start.
    :param qualities: show how good values are and how old: for a client's memory.
    :param worth: the origins of the changes that plain lines tell.
    """

    store: MemoryStore
    bar: Callable[[], Bar]
    command: Callable[[str], str] | None = None
    tick: Callable[[float], object] = lambda seconds: None
    qualities: bool = True
    worth: Sequence[str] = ("local", "remote", "device")

    @property
    def kinds(self) -> dict[str, str]:
        """The type of each variable."""
        return {name: variable.kind for name, variable in self.store.variables().items()}


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


def on_a_screen() -> bool:
    """Is there a terminal to draw on?"""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def follow(view: View, seconds: float | None = None, *, as_json: bool = False) -> None:
    """Look until the time is up, or Ctrl+C: both are an end in order."""
    with _ended_in_order(), suppress(KeyboardInterrupt), keyboard() as keys:
        if as_json or not on_a_screen():
            _print(view, keys, seconds, as_json=as_json)
        else:
            _draw(view, keys, seconds)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """When it is asked to end (SIGTERM), the terminal is left as it was."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ticks(view: View, keys: Keyboard, seconds: float | None) -> Iterator[list[Told]]:
    """One after the other: the memory has moved, what was typed is done, and this is to be told of it."""
    start = time.monotonic()
    told: list[Told] = []
    while seconds is None or time.monotonic() - start < seconds:
        view.tick(time.monotonic() - start)
        yield told
        told = [_done(view.command, line) for line in keys.lines(TICK) if view.command is not None]


def _done(command: Callable[[str], str], line: str) -> Told:
    try:
        return Told(command(line), wrong=False)
    except (MsmError, typer.BadParameter) as error:
        return Told(str(error), wrong=True)


def _draw(view: View, keys: Keyboard, seconds: float | None) -> None:
    screen = Screen(view.kinds, view.qualities)
    with Live(screen, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        last = Told("", wrong=False)
        for told in _ticks(view, keys, seconds):
            last = told[-1] if told else last
            screen.top, keys.scroll = screen.top + keys.scroll, 0
            bar = view.bar()
            bar.told, bar.wrong = (bar.told, True) if bar.told else last
            bar.prompt = None if view.command is None else keys.typed
            screen.note([view.store.info(name) for name in view.kinds], bar)
            live.refresh()


def _print(view: View, keys: Keyboard, seconds: float | None, *, as_json: bool) -> None:
    """Plain lines: values as they change on standard output, what is wrong on standard error."""
    kinds = view.kinds
    known = ""  # of what is wrong
    with view.store.changes() as changes:
        for info in map(view.store.info, kinds):
            if info.quality == "good":
                _value(info.name, info.value, info.unit, kinds[info.name], info.at or time.time(), as_json=as_json)
        for told in _ticks(view, keys, seconds):
            for change in _pending(changes):
                if change.origin in view.worth:
                    unit = view.store.info(change.name).unit
                    _value(change.name, change.new, unit, kinds[change.name], change.at, as_json=as_json)
            for text, wrong in told:
                print(f"msm: {text}" if wrong else text, file=sys.stderr if wrong else sys.stdout)
            trouble = view.bar().told
            if trouble and trouble != known:
                print(f"msm: {trouble}", file=sys.stderr)
            known = trouble
            sys.stdout.flush()


def _pending(changes: ChangeStream) -> Iterator[Change]:
    """The changes until now."""
    with suppress(LinkTimeoutError):
        while True:
            yield changes.get(0.0)


def _value(name: str, value: Any, unit: str, kind: str, at: float, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"at": at, "name": name, "value": plain(value, kind), "unit": unit}, ensure_ascii=False))
    else:
        clock = datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3]
        print(f"{clock}  {printable(name)}  {shown(value, kind)} {printable(unit)}".rstrip())
