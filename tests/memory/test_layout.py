"""The layout picture: as text exact to the column, as SVG well-formed and readable."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import DeclarationError, MemoryStore, MemoryVariable
from msm.memory.layout import Layout
from msm.memory.palette import DARK, LIGHT, Palette, style_sheet
from msm.memory.textwidth import columns, squeeze
from tests.memory.layouts import PICTURED, PICTURES, plant, press, quickstart

SVG = "{http://www.w3.org/2000/svg}"

QUICKSTART = """\
Holding registers: 8 words, 4 variables, 4 words free

│0        │1        │2        │3        │4        │5        │6        │7
╎bits 7-0╎├─ CURRENT_VALUE ──┤├── 1 ───┤    ·         ·         ·         ·
                              ╎ bit 0  ╎

   WORK_MODE      byte    word 0 byte 0  rw  ···· ···· ■■■■ ■■■■
   CURRENT_VALUE  uint32  words 1-2      rw  CDAB
1  CONTROL_WORD   word    word 3         rw
   ERROR_STATE    bool    word 3 bit 0   rw  ···· ···· ···· ···■

CDAB is low word first; A is the highest byte."""

QUICKSTART_ASCII = """\
Holding registers: 8 words, 4 variables, 4 words free

|0        |1        |2        |3        |4        |5        |6        |7
:bits 7-0:[- CURRENT_VALUE --][-- 1 ---]    .         .         .         .
                              : bit 0  :
"""


# -- text


def test_the_quickstart_in_text() -> None:
    assert str(quickstart().layout()) == QUICKSTART
    assert str(Layout.of(quickstart())) == QUICKSTART


def test_the_quickstart_in_ascii() -> None:
    text = quickstart().layout().text(ascii=True)
    assert text.startswith(QUICKSTART_ASCII)
    assert text.isascii()


def test_a_layout_is_of_the_instant_when_it_was_asked_for() -> None:
    mem = quickstart()
    layout = mem.layout()
    mem.LATER = MemoryVariable.word(7)
    assert str(layout) == QUICKSTART
    assert "LATER" in str(mem.layout())


def test_bits_of_a_table_of_bits() -> None:
    mem = MemoryStore(0, coils=20)
    mem.PUMP = MemoryVariable.coil(1)
    mem.lamps = MemoryVariable.coil(14, count=4)
    assert mem.layout().text().splitlines()[2:6] == [
        "│0   │1   │2   │3   │4   │5   │6   │7   │8   │9   │10  │11  │12  │13  │14  │15",
        "  ·  ├ 1 ┤  ·    ·    ·    ·    ·    ·    ·    ·    ·    ·    ·    ·  ├ lamps ──",
        "│16  │17  │18  │19",
        "─ lamps ─┤  ·    ·",
    ]


@pytest.mark.parametrize(
    ("word_order", "byte_order", "letters", "meaning"),
    [
        ("little", "big", "CDAB", "low word first"),
        ("big", "big", "ABCD", "high word first"),
        ("big", "little", "BADC", "high word first, bytes swapped"),
        ("little", "little", "DCBA", "low word first, bytes swapped"),
    ],
)
def test_the_word_order_is_said(word_order: str, byte_order: str, letters: str, meaning: str) -> None:
    mem = MemoryStore(2)
    mem["a"] = MemoryVariable.uint32(0, word_order=word_order, byte_order=byte_order)  # type: ignore[call-overload]
    text = str(mem.layout())
    assert f"words 0-1  rw  {letters}" in text
    assert f"{letters} is {meaning}; A is the highest byte." in text


def test_orders_of_what_is_no_number() -> None:
    mem = MemoryStore(20, byte_order="little")
    mem["text"] = MemoryVariable.string(0, 4)
    mem["clock"] = MemoryVariable.datetime(2, "bcd")
    mem["bit"] = MemoryVariable.bool(9, 0)
    mem["single"] = MemoryVariable.word(10)
    lines = [line for line in str(mem.layout()).splitlines() if "word" in line]
    assert "first word first, bytes swapped" in lines[1]
    assert "first word first, bytes swapped" in lines[2]
    assert "word 9 bit 8" in lines[3] and lines[3].endswith("···· ···■ ···· ····, bytes swapped")
    assert lines[4].endswith("BA")


def test_what_is_empty_or_inside_a_long_value_is_left_out() -> None:
    text = str(plant().layout())
    assert "… words 3544-3999: nothing declared" in text
    assert "… words 4008-4495: inside history" in text
    assert re.search(r"… words 2024-3543: laid out like words 2000-2023", text)


def test_an_empty_memory() -> None:
    layout = MemoryStore(0).layout()
    assert str(layout) == "An empty memory."
    ElementTree.fromstring(layout.svg())
    assert "nothing declared" in str(MemoryStore(16).layout())


@pytest.mark.parametrize("width", [39, 0, -1, True, "80", 80.0])
def test_a_width_that_is_none(width: int) -> None:
    with pytest.raises(DeclarationError, match="is not a number of columns from 40"):
        quickstart().layout().text(width)


def test_findings_are_below_the_picture() -> None:
    text = str(press().layout())
    assert text.index("3 findings") > text.index("air_ok")
    assert "warning: overlap\n  holding word 53: limit_low" in text
    assert "finding" not in str(quickstart().layout())


def test_large_maps_are_fast() -> None:
    for mem in (plant(), MemoryStore(65536, input_registers=65536, coils=65536, discrete_inputs=65536)):
        begin = time.perf_counter()
        layout = mem.layout()
        assert layout.text()
        assert layout.svg()
        assert time.perf_counter() - begin < 2  # it takes a tenth of that on a machine that has nothing else to do


# -- text, to the column

KINDS = {"word": 1, "int16": 1, "uint32": 2, "float32": 2, "uint64": 4, "float64": 4}


@st.composite
def stores(draw: st.DrawFn) -> MemoryStore:
    size = draw(st.integers(1, 120))
    coils = draw(st.integers(0, 40))
    mem = MemoryStore(size, coils=coils)
    names = draw(st.lists(st.from_regex(r"v[a-z0-9_]{0,20}", fullmatch=True), unique=True, max_size=25))
    for name in names:
        kind = draw(st.sampled_from([*KINDS, "array", "text", "bool", "byte", "bits", "coil"]))
        address = draw(st.integers(0, size - 1))
        room = size - address
        if kind == "coil" and coils:
            first = draw(st.integers(0, coils - 1))
            mem[name] = MemoryVariable.coil(first, count=draw(st.integers(1, coils - first)))
        elif kind == "bool":
            mem[name] = MemoryVariable.bool(address, draw(st.integers(0, 15)))
        elif kind == "byte":
            mem[name] = MemoryVariable.byte(address, draw(st.integers(0, 1)))
        elif kind == "bits":
            mem[name] = MemoryVariable.bits(address, draw(st.integers(0, 7)), draw(st.integers(1, 9)))
        elif kind == "array":
            mem[name] = MemoryVariable.word(address, count=draw(st.integers(1, room)))
        elif kind == "text":
            mem[name] = MemoryVariable.string(address, draw(st.integers(1, 2 * room)))
        elif kind in KINDS and KINDS[kind] <= room:
            mem[name] = getattr(MemoryVariable, kind)(address)
    return mem


@given(mem=stores(), width=st.integers(40, 170), ascii=st.booleans())
def test_no_line_is_too_long_and_no_name_is_missing(mem: MemoryStore, width: int, ascii: bool) -> None:
    text = mem.layout().text(width, ascii=ascii)
    assert all(len(line) <= width and line == line.rstrip() for line in text.splitlines())
    assert text.isascii() or not ascii
    words = set(re.findall(r"\w+", text))
    assert set(mem.variables()) <= words


def drawn_rows(text: str) -> Iterator[tuple[str, int, int, int, list[str]]]:
    """The rows of a picture: title of the table, first cell, number of cells, columns of a cell, lines of its lanes."""
    title, lines = "", text.splitlines()
    for at, line in enumerate(lines):
        if re.match(r"[A-Z][a-z ]+: \d+ ", line):
            title = line.split(":")[0]
        if line.startswith("│"):
            cells = line[1:].split("│")
            lanes: list[str] = []
            for lane in lines[at + 1 :]:
                if not lane or lane[0] in "│…":
                    break
                lanes.append(lane)
            yield title, int(cells[0]), len(cells), len(cells[0]) + 1 if len(cells) > 1 else 0, lanes


@given(mem=stores(), width=st.integers(40, 170))
def test_every_bar_covers_exactly_its_cells(mem: MemoryStore, width: int) -> None:
    text = mem.layout().text(width)
    spans = {name: (mem.variables()[name].table, mem.info(name)) for name in mem.variables()}
    whole = {name for name in spans if mem.variables()[name].kind not in ("bool", "byte", "bits")}
    whole = {name for name in whole if mem.variables()[name].arguments.get("length") != 1}
    for title, first, count, cell, lanes in drawn_rows(text):
        if not cell:
            continue  # a row of one cell does not say how wide it is
        table = "coil" if title == "Coils" else "holding"
        section = text[text.index(f"{title}:") :]  # keys are unique within a table only
        keys = dict(reversed(re.findall(r"^ *(\d+) +(v\w*)", section, re.MULTILINE)))
        found: list[tuple[str, int, int]] = []
        divided = set()
        for lane in lanes:
            for bar in re.finditer(r"[├─][^├┤╎·]*[┤─](?=[├╎ ]|$)|╎[^╎]*╎", lane):
                begin, end = bar.start() / cell, bar.end() / cell
                assert begin.is_integer() and end.is_integer(), lane
                label = re.sub(r"[├─┤ ]", "", bar.group())
                if bar.group()[0] == "╎":
                    assert end == begin + 1
                    divided.add(first + int(begin))
                    continue
                found.append((keys.get(label, label), first + int(begin), first + int(end)))
        expected = [
            (name, max(first, info.address), min(first + count, info.address + len(info.words)))
            for name, (of, info) in spans.items()
            if name in whole and of == table and info.address < first + count and info.address + len(info.words) > first
        ]
        assert sorted(found) == sorted(expected)
        parts = {spans[name][1].address for name in set(spans) - whole} if table == "holding" else set()
        assert divided == {address for address in parts if first <= address < first + count}


@given(name=st.text(min_size=1, max_size=60), width=st.integers(40, 100), ascii=st.booleans())
def test_a_name_may_be_anything(name: str, width: int, ascii: bool) -> None:
    mem = MemoryStore(8, coils=3)
    try:
        mem[name] = MemoryVariable.uint32(2, unit=name, label=name)
    except DeclarationError:
        return  # one that the store uses itself
    text = mem.layout().text(width, ascii=ascii)
    assert all(columns(line) <= width for line in text.split("\n"))
    assert all(char == "\n" or not unicodedata.category(char).startswith("C") for char in text)
    root = ElementTree.fromstring(mem.layout().svg())
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "style", "defs", "pattern", "path", "rect", "g", "text",
    }  # fmt: skip


@given(
    text=st.text(alphabet=st.characters(exclude_categories=["C", "Z", "M"]), min_size=1),
    width=st.integers(3, 30),
    lines=st.integers(1, 3),
)
def test_a_name_is_squeezed_into_its_bar(text: str, width: int, lines: int) -> None:
    squeezed = squeeze(text, width, lines)
    assert 1 <= len(squeezed) <= lines
    assert all(columns(line) <= width for line in squeezed)
    if len(text) < width:
        assert columns(text) > width or squeezed == [text]


# -- SVG


def titles(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter(f"{SVG}title")][1:]


@pytest.mark.parametrize("make", [quickstart, press, plant])
def test_the_svg_shows_every_variable(make: type[MemoryStore]) -> None:
    mem = make()
    svg = mem.layout().svg()
    told = {title.split(":")[0] for title in titles(svg)}
    assert told == set(mem.variables())


def test_the_svg_is_self_contained_and_accessible() -> None:
    svg = press().layout().svg()
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    label = root.get("aria-label") or ""
    assert "Holding registers: 200 words, 60 variables, 51 words free." in label
    assert "prefers-color-scheme:dark" in svg
    assert not re.search(r"<script|<image|<foreignObject|@import|@font-face|\bon\w+=|href", svg)
    assert set(re.findall(r"https?://[^\"' ]+", svg)) == {"http://www.w3.org/2000/svg"}
    shown = [element.text for element in root.iter(f"{SVG}text")]
    for meaning in ("rw: both sides write", "ro: only the device writes", "wo: only clients write"):
        assert meaning in shown


def test_a_name_cannot_smuggle_anything_into_the_svg() -> None:
    evil = "</title><script>alert(1)</script><text x='\"&amp;\x00]]>"
    mem = MemoryStore(8)
    mem[evil] = MemoryVariable.uint32(0, label=evil, unit=evil)
    mem[evil + "bit"] = MemoryVariable.bool(4, 1, label=evil)
    svg = mem.layout().svg()
    assert "<script" not in svg
    assert "<script>" in titles(svg)[0]
    html = mem.layout()._repr_html_()
    assert "<script" not in html


def test_bits_of_words_are_enlarged() -> None:
    root = ElementTree.fromstring(quickstart().layout().svg())
    shown = [element.text for element in root.iter(f"{SVG}text")]
    assert shown.count("bits") == 2
    assert {"word 0", "word 3"} <= set(shown)
    assert [str(bit) for bit in range(15, -1, -1)] == shown[shown.index("word 0") + 2 :][:16]


def test_overlaps_are_hatched() -> None:
    def hatched(mem: MemoryStore) -> int:
        return mem.layout().svg().count('fill="url(#')

    legend = hatched(MemoryStore(4))
    mem = MemoryStore(8)
    mem["low"] = MemoryVariable.uint32(0)
    mem["high"] = MemoryVariable.uint32(1)
    assert hatched(mem) == legend + 2
    mem = MemoryStore(8)
    mem["mode"] = MemoryVariable.bits(0, 0, 4)
    mem["flag"] = MemoryVariable.bool(0, 3)
    assert hatched(mem) == legend + 2
    assert hatched(quickstart()) == legend


def test_a_notebook_gets_the_svg_in_a_box_that_scrolls() -> None:
    layout = quickstart().layout()
    assert layout._repr_html_() == f'<div style="overflow:auto;max-height:48em">{layout.svg()}</div>'


def test_drawings_in_one_page_do_not_share_ids() -> None:
    one, other = (re.findall(r'id="([^"]+)"', mem.layout().svg()) for mem in (quickstart(), press()))
    assert len(one) == len(other) == 1
    assert one != other


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_text_is_readable_and_lines_are_visible(palette: Palette) -> None:
    for fill in (palette.page, palette.free, palette.rw, palette.ro, palette.wo):
        assert contrast(palette.text, fill) >= 4.5
    assert contrast(palette.quiet, palette.page) >= 4.5
    for line, fill in (
        (palette.rw_line, palette.rw), (palette.ro_line, palette.ro), (palette.wo_line, palette.wo),
    ):  # fmt: skip
        assert contrast(line, palette.page) >= 3
        assert contrast(line, fill) >= 3
        assert contrast(palette.hatch, fill) >= 3


def test_the_styles_do_not_reach_beyond_the_drawing() -> None:
    selectors = re.findall(r"([^{}]+)\{[^{}]*\}", style_sheet().replace("@media (prefers-color-scheme:dark){", ""))
    assert selectors
    assert all(selector.startswith(".msm-layout ") for selector in selectors)


@pytest.mark.parametrize("name", PICTURED)
def test_the_pictures_of_the_docs_are_up_to_date(name: str) -> None:
    drawn = PICTURED[name]().layout().svg()
    assert (PICTURES / name).read_text(encoding="utf-8") == drawn, "run: python -m tests.memory.layouts"
