"""The live table as it is drawn: widths, trends, ages, what stands out, and what is cut off."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console
from rich.segment import Segment

from msm import Info, MemoryStore, MemoryVariable
from msm.cli.screen import Bar, Screen, age, sparkline

V = MemoryVariable


def info(name: str, value: object, words: tuple[int, ...] = (0,), quality: str = "good", unit: str = "") -> Info:
    return Info(name, value, words, "holding", 0, quality, time.time(), "", unit, "")  # type: ignore[arg-type]


def console(width: int, height: int) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True, legacy_windows=False)


def drawn(screen: Screen, width: int = 80, height: int = 24) -> list[str]:
    """The lines as they are read."""
    lines = console(width, height).render_lines(screen)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def style_of(screen: Screen, text: str) -> str:
    """How a text is drawn."""
    segments: list[Segment] = [each for line in console(80, 24).render_lines(screen) for each in line]
    return next(str(segment.style) for segment in segments if segment.text.strip() == text)


def bar(**more: object) -> Bar:
    return Bar("online", well=True, facts=["tcp://plc:502", "cycle 1.2 ms"], **more)  # type: ignore[arg-type]


def test_the_table_has_a_head_a_line_for_each_variable_and_a_bar_at_the_bottom() -> None:
    screen = Screen({"SPEED": "float32", "LAMP": "coil"})
    screen.note([info("SPEED", 40.099998474121094, (0x4220, 0x6666), unit="rpm"), info("LAMP", True)], bar(prompt=""))
    lines = drawn(screen)
    assert len(lines) == 24
    assert lines[0].split() == ["name", "value", "quality", "age", "words", "trend"]
    assert lines[1].split() == ["SPEED", "40.1", "rpm", "good", "0.0", "s", "4220", "6666", "▁"]
    assert lines[2].split() == ["LAMP", "true", "good", "0.0", "s", "0000", "▁"]
    assert lines[21].split() == ["ONLINE", "tcp://plc:502", "cycle", "1.2", "ms"]
    assert lines[23] == "> NAME=VALUE and Enter sets a value"


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_whatever_is_drawn_fits(width: int) -> None:
    screen = Screen({"N" * 60: "word", "字" * 30: "string", "A": "word"})
    infos = [
        info("N" * 60, tuple(range(100)), tuple(range(100))),
        info("字" * 30, "x\x1b[2J" * 50),
        info("A", None, quality="bad"),
    ]
    screen.note(infos, bar(told="y" * 500, prompt="z" * 500))
    lines = console(width, 10).render_lines(screen, pad=False)
    assert len(lines) == 10
    assert all(Segment.get_line_length(line) <= width for line in lines)
    assert not any("\x1b[2J" in segment.text for line in lines for segment in line)


def test_columns_do_not_jump_when_values_get_shorter() -> None:
    screen = Screen({"A": "word"})
    screen.note([info("A", 65535)], bar())
    before = drawn(screen)[0]
    screen.note([info("A", 1)], bar())
    assert drawn(screen)[0] == before


def test_a_part_is_shown_where_not_all_fits_and_it_can_be_scrolled() -> None:
    screen = Screen({f"V{number}": "word" for number in range(20)})
    infos = [info(f"V{number}", number) for number in range(20)]
    screen.note(infos, bar())
    assert [line.split()[0] for line in drawn(screen, height=8)[1:6]] == ["V0", "V1", "V2", "V3", "V4"]
    assert "1-5 of 20" in drawn(screen, height=8)[6]
    screen.top = 100
    assert [line.split()[0] for line in drawn(screen, height=8)[1:6]] == ["V15", "V16", "V17", "V18", "V19"]
    screen.top = -5
    assert drawn(screen, height=8)[1].startswith("V0")


def test_a_value_that_changes_stands_out_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    screen = Screen({"A": "word"})
    screen.note([info("A", 1)], bar())
    assert "reverse" not in style_of(screen, "1")
    now = 103.0
    screen.note([info("A", 2)], bar())
    assert "reverse" in style_of(screen, "2")
    now = 103.2
    screen.note([info("A", 3)], bar())
    assert style_of(screen, "3") == "bold cyan"  # it goes on changing: that is no event
    now = 104.0
    screen.note([info("A", 3)], bar())
    assert "cyan" not in style_of(screen, "3")


def test_what_was_never_read_has_no_value() -> None:
    store = MemoryStore(1)
    store.A = V.word(0)
    screen = Screen({"A": "word"})
    screen.note([store.info("A")], bar())
    assert drawn(screen)[1].split() == ["A", "never"]


def test_a_memory_that_is_served_has_values_and_no_quality() -> None:
    store = MemoryStore(1)
    store.A = V.word(0)
    screen = Screen({"A": "word"}, qualities=False)
    screen.note([store.info("A")], bar())
    assert drawn(screen)[0].split() == ["name", "value", "words", "trend"]
    assert drawn(screen)[1].split()[:3] == ["A", "0", "0000"]
    assert drawn(screen)[1].endswith("▁")


@pytest.mark.parametrize(
    ("points", "width", "line"),
    [
        ([], 8, ""),
        ([5.0, 5.0], 8, "▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([9, 9, 0, 7], 2, "▁█"),
    ],
)
def test_a_trend_is_the_last_points_between_their_extremes(points: list[float], width: int, line: str) -> None:
    assert sparkline(points, width) == line


def test_a_trend_in_ascii() -> None:
    assert sparkline([0, 7], 8, ascii_only=True) == "_@"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (0.14, "0.1 s"), (59, "59 s"), (119, "119 s"), (150, "2 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_an_age_takes_few_characters(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_the_bar_shows_by_its_colour_that_something_is_wrong() -> None:
    screen = Screen({"A": "word"})
    screen.note([info("A", 1)], Bar("online", well=True))
    assert "on green" in style_of(screen, "ONLINE")
    screen.note([info("A", 1)], Bar("offline", well=False, told="nobody there"))
    assert "on red" in style_of(screen, "OFFLINE")
    assert style_of(screen, "nobody there") == "yellow"


def test_a_long_complaint_takes_up_to_three_lines() -> None:
    screen = Screen({"A": "word"})
    screen.note([info("A", 1)], Bar("offline", well=False, told="word " * 100))
    lines = drawn(screen)
    assert len(lines) == 24
    assert lines[20].split() == ["OFFLINE"]
    assert lines[23].endswith("…")
