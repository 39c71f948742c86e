"""Text by the columns that it takes: names may be anything, also Chinese, and also a line break."""

from __future__ import annotations

import re
import unicodedata

_ELLIPSIS = "…"
_HARD_SPACE = "\xa0"  # never in printable() text, so it can stand for a space that is not to be wrapped at


def printable(text: str, *, ascii: bool = False) -> str:
    """The text with everything that is not a visible character, or not ASCII, as an escape like ``\\n``."""
    shown = "".join(char if char.isprintable() else _escaped(char) for char in text)
    return shown.encode("ascii", "backslashreplace").decode() if ascii else shown


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return len(text) if text.isascii() else sum(_column(char) for char in text)


def _column(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def pad(text: str, width: int) -> str:
    """The text filled up with spaces to that many columns."""
    return text + " " * (width - columns(text))


def hard(text: str) -> str:
    """The text as one word, which `wrap` leaves whole where it can."""
    return text.replace(" ", _HARD_SPACE)


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns; a word that is longer than a line is broken."""
    lines: list[str] = []
    line, used = "", 0
    for word in text.split(" "):
        needed = columns(word)
        if line and used + 1 + needed <= width:
            line, used = f"{line} {word}", used + 1 + needed
            continue
        if line:
            lines.append(line)
        *full, line = cut(word, width)
        lines += full
        used = columns(line)
    return [line.replace(_HARD_SPACE, " ") for line in (*lines, line)]


def cut(text: str, width: int) -> list[str]:
    """The text in pieces of at most `width` columns each, at least one."""
    if columns(text) <= width:
        return [text]
    pieces: list[str] = []
    piece, used = "", 0
    for char in text:
        needed = _column(char)
        if piece and used + needed > width:
            pieces.append(piece)
            piece, used = "", 0
        piece, used = piece + char, used + needed
    return [*pieces, piece]


def squeeze(text: str, width: int, lines: int) -> list[str]:
    """A name in at most so many lines, broken where its words end; what has no room becomes an ellipsis."""
    if columns(text) <= width:
        return [text]
    words = re.findall(r"[A-Z]*[^A-Z_\-./ ]*[_\-./ ]*", text)[:-1]
    done: list[str] = []
    line = ""
    for word in words:
        if columns(line + word.rstrip()) <= width:
            line += word
            continue
        if line:
            done.append(line)
        *full, line = cut(word, width)
        done += full
    done.append(line)
    done = [line.strip() for line in done if line.strip()]
    if len(done) > lines:
        # Better broken inside a word than without a part of it; better without its middle than without its end, since
        # names of a row often differ there only.
        done = cut(text, width)
    if len(done) > lines:
        kept = width * lines - 1
        begin = cut(text, kept // 2)[0]
        end = cut(text[::-1], kept - columns(begin))[0][::-1]
        # Wide letters may leave a column of a line empty.
        done = cut(f"{begin}{_ELLIPSIS}{end}", width)[:lines]
    return done or [_ELLIPSIS]
