"""`Layout`: the picture of what lies where in a memory, as text and as SVG, and what a linter says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from msm.errors import DeclarationError
from msm.memory.lint import Finding, lint
from msm.memory.pieces import LaidTable, tables_of
from msm.memory.terminal import NARROWEST, Terminal

if TYPE_CHECKING:
    from msm.memory.store import MemoryStore

__all__ = ["Finding", "Layout"]


class Layout(str):
    """What lies where in a store, as it was declared when `store.layout()` was called.

    It is the text for a terminal of 80 columns, and `text()` draws it for another width. In a notebook it shows
    itself as a drawing; `svg()` is that drawing for a web page or the documentation. `findings` is what looks wrong
    with the declarations: an empty list where nothing does.
    """

    _tables: tuple[LaidTable, ...]
    _findings: list[Finding]

    def __new__(cls, tables: tuple[LaidTable, ...]) -> Self:
        findings = lint(tables)
        self = super().__new__(cls, _draw(tables, findings, 80, ascii=False))
        self._tables = tables
        self._findings = findings
        return self

    @classmethod
    def of(cls, store: MemoryStore) -> Layout:
        """The layout of a store: the same as `store.layout()`."""
        return cls(tables_of(store))

    @property
    def findings(self) -> list[Finding]:
        """What looks wrong with the declarations, warnings first; empty where nothing does."""
        return list(self._findings)

    def text(self, width: int = 80, *, ascii: bool = False) -> str:
        """The picture for a terminal: words as columns, variables as bars, and below them what they are.

        :param width: the columns of the terminal, from 40; no line is longer.
        :param ascii: draw with ASCII only; other characters of a name become escapes.
        :raises DeclarationError: the width is not a number from 40.
        """
        if isinstance(width, bool) or not isinstance(width, int) or width < NARROWEST:
            raise DeclarationError(f"width {width!r} is not a number of columns from {NARROWEST}")
        return _draw(self._tables, self._findings, width, ascii=ascii)

    def svg(self) -> str:
        """The picture as a self-contained SVG, for light and for dark pages; hovering over a bar tells all of it."""
        from msm.memory.picture import draw_svg  # noqa: PLC0415 - most programs never draw one

        return draw_svg(self._tables)

    def _repr_html_(self) -> str:
        """What a notebook shows: the SVG in a box that scrolls."""
        return f'<div style="overflow:auto;max-height:48em">{self.svg()}</div>'

    def __repr__(self) -> str:
        tables = "; ".join(f"{table.name}: {table.summary}" for table in self._tables)
        return f"<Layout {tables or 'of an empty memory'}; findings: {len(self.findings)}>"


def _draw(tables: tuple[LaidTable, ...], findings: list[Finding], width: int, *, ascii: bool) -> str:
    if not tables:
        return "An empty memory."
    terminal = Terminal(width, ascii)
    blocks = [list(terminal.draw(table)) for table in tables]
    blocks.append(list(terminal.findings(findings)))
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)
