"""Tables of the reference that are made from the code: types, their keywords, layouts of dates, keys of maps.

`type_rows()` and its kin need nothing but MSM, so that tests can look at the rows. Each row of the types is tried
while it is made: a value that the type refuses is assigned, and the table shows what was raised.
"""

from __future__ import annotations

import ast
import enum
import inspect
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from msm import MemoryStore
from msm.errors import MsmError
from msm.memory import kinds, mapschema
from msm.memory.kinds import Kind
from msm.memory.mapspec import KEYS, keys_of
from msm.memory.named import LAYOUTS
from msm.memory.variable import KINDS, keywords_of

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx

Row = Sequence[str]


class State(enum.Enum):
    """An enum to try `MemoryVariable.enum` with."""

    OFF = 0
    RUN = 1


class Fault(enum.Flag):
    """Flags to try `MemoryVariable.flags` with."""

    HOT = 1
    OIL = 2


class Trial(NamedTuple):
    """How to declare a variable of a type, and a value that it refuses."""

    arguments: dict[str, Any]
    refused: Any


TRIALS: dict[str, Trial] = {
    "bool": Trial({"bit_number": 0}, 2),
    "byte": Trial({"byte_number": 0}, 256),
    "int8": Trial({"byte_number": 0}, 128),
    "word": Trial({}, 65536),
    "uint16": Trial({}, -1),
    "int16": Trial({}, 32768),
    "uint32": Trial({}, 1 << 32),
    "int32": Trial({}, 1 << 31),
    "uint64": Trial({}, 1 << 64),
    "int64": Trial({}, 1 << 63),
    "float16": Trial({}, 65536.0),
    "float32": Trial({}, 1e39),
    "float64": Trial({}, "fast"),
    "bcd16": Trial({}, 10000),
    "bcd32": Trial({}, 100000000),
    "string": Trial({"length": 4}, "too long"),
    "bits": Trial({"bit_number": 0, "length": 3}, 8),
    "enum": Trial({"enum_type": State}, 7),
    "flags": Trial({"enum_type": Fault}, 8),
    "datetime": Trial({"layout": "unix32"}, datetime(2024, 5, 17)),
    "coil": Trial({}, 2),
    "discrete": Trial({}, "on"),
}

GROUPS = {
    "orders": ("word_order", "byte_order"),
    "numbers": ("scale", "offset", "min", "max", "nan", "unit"),
}
"""Keywords that come together; those that every type takes are the group "all"."""


def type_rows() -> list[Row]:
    """For each type: how it is written and what it is, its size, values, what it gives, keywords, and an error."""
    return [
        (
            f"`{signature(kind)}`\n{kind.__doc__}", kind.words, kind.values, f"{kind.gives}",
            keywords_text(name), error_of(name),
        )
        for name, kind in KINDS.items()
    ]  # fmt: skip


def signature(kind: Kind) -> str:
    """The constructor with its own arguments."""
    parameters = inspect.signature(type(kind).__call__).parameters.values()
    names = []
    for parameter in parameters:
        if parameter.name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        default = parameter.default
        names.append(parameter.name if default is parameter.empty else f"{parameter.name}={default!r}")
    return f"{kind.name}({', '.join(names)})"


def common_keywords() -> set[str]:
    """The keywords that every type takes."""
    return set.intersection(*(keywords_of(name) for name in KINDS))


def keywords_text(name: str) -> str:
    """The keywords of a type, by group where it takes a whole group."""
    left = keywords_of(name) - common_keywords()
    parts = ["all"]
    for group, members in GROUPS.items():
        if left.issuperset(members):
            parts.append(group)
            left -= set(members)
    if name not in ("coil", "discrete"):
        left.add("table")
    return ", ".join([*parts, *(f"`{keyword}`" for keyword in sorted(left))])


def error_of(name: str) -> str:
    """What is raised when a variable of that type is assigned what it does not take."""
    arguments, refused = TRIALS[name]
    mem = MemoryStore(8, coils=8, discrete_inputs=8)
    constructor: Any = KINDS[name]
    mem.VALUE = constructor(address=0, **arguments)
    try:
        mem.VALUE = refused
    except MsmError as error:
        return f"`{type(error).__name__}`\n{error}"
    raise AssertionError(f"{name} takes {refused!r}")


def keyword_rows() -> list[Row]:
    """For each keyword of a variable: its group, and what it means."""
    meanings = {key: str(value.get("description", "")) for key, value in mapschema.schema()["definitions"].items()}
    meanings |= {
        key: text
        for owner in (kinds.CommonKeywords, kinds.WordKeywords, kinds.NumberKeywords, kinds.ScaledKeywords,
                      kinds.OffsetKeywords)
        for key, text in documented(owner).items()
    }  # fmt: skip
    every = {*common_keywords(), "table", *(keyword for name in KINDS for keyword in keywords_of(name))}
    rows = []
    for keyword in sorted(every, key=lambda keyword: (group_of(keyword)[0], keyword)):
        rows.append((f"`{keyword}`", group_of(keyword)[1], meanings[keyword]))
    return rows


def group_of(keyword: str) -> tuple[int, str]:
    """Where a keyword belongs, with a number to sort by."""
    if keyword in common_keywords():
        return 0, "all"
    for at, (group, members) in enumerate(GROUPS.items()):
        if keyword in members:
            return at + 1, group
    return len(GROUPS) + 1, ""


def documented(owner: type) -> dict[str, str]:
    """The docstrings below the fields of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        match before, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def layout_rows() -> list[Row]:
    """For each layout of a date: its words, what lies there, and whether it is an instant."""
    return [
        (
            f"`{name}`", str(layout.size // 2), layout.meaning,
            "an instant, in UTC" if layout.swaps else "the device's own clock, without a time zone",
            "as declared" if layout.swaps else "first word first",
        )
        for name, layout in LAYOUTS.items()
    ]  # fmt: skip


def key_rows() -> list[Row]:
    """For each key of a variable in a register map: its meaning, and the types that take it."""
    definitions = mapschema.schema()["definitions"]
    rows = []
    for key in KEYS:
        takers = [name for name in KINDS if key in keys_of(name)]
        missing = [name for name in KINDS if name not in takers]
        if not missing:
            who = "all"
        elif len(missing) < len(takers):
            who = f"all but {', '.join(f'`{name}`' for name in missing)}"
        else:
            who = ", ".join(f"`{name}`" for name in takers)
        rows.append((f"`{key}`", str(definitions[key].get("description", "")), who))
    return rows


TABLES = {
    "msm-types": (("Type", "Words", "Values", "Gives", "Keywords", "Error"), (24, 8, 16, 15, 13, 24), type_rows),
    "msm-keywords": (("Keyword", "Group", "Meaning"), (18, 12, 70), keyword_rows),
    "msm-layouts": (
        ("Layout", "Words", "What lies there", "What it is", "Order of words"), (14, 8, 40, 22, 16), layout_rows,
    ),
    "msm-map-keys": (("Key", "Meaning", "Types"), (16, 50, 34), key_rows),
}  # fmt: skip
"""The directives: the head of each table, the widths of its columns, and where its rows come from."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directives."""
    from docutils import nodes  # noqa: PLC0415 - the rows are looked at where Sphinx is not installed
    from pygments.lexers.special import TextLexer  # noqa: PLC0415
    from sphinx.util.docutils import SphinxDirective  # noqa: PLC0415

    def cell(text: str) -> Node:
        entry = nodes.entry()
        for line in text.split("\n"):
            paragraph = nodes.paragraph()
            for at, part in enumerate(line.split("`")):
                if part:
                    paragraph += nodes.literal(part, part) if at % 2 else nodes.Text(part)
            entry += paragraph
        return entry

    def row(cells: Row) -> Node:
        made = nodes.row()
        made += [cell(text) for text in cells]
        return made

    class GeneratedTable(SphinxDirective):
        """A table of `TABLES`."""

        def run(self) -> list[Node]:
            head, widths, rows = TABLES[self.name]
            group = nodes.tgroup(cols=len(head))
            group += [nodes.colspec(colwidth=width) for width in widths]
            group += nodes.thead("", row(head))
            group += nodes.tbody("", *(row(cells) for cells in rows()))
            return [nodes.table("", group, classes=["colwidths-given", self.name])]

    for name in TABLES:
        app.add_directive(name, GeneratedTable)
    app.add_lexer("csv", TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
