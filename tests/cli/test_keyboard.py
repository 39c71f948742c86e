"""What is typed, byte by byte as a terminal sends it."""

from __future__ import annotations

import os

import pytest

from msm.cli.keyboard import PAGE, Keyboard


def typed(*chunks: bytes) -> tuple[list[str], str, int]:
    """The lines, what is typed of the next one, and how far to scroll."""
    keys = Keyboard()
    lines = []
    for chunk in chunks:
        keys.feed(chunk)
        lines += keys.lines(0)
    return lines, keys.typed, keys.scroll


@pytest.mark.parametrize(
    ("chunks", "seen"),
    [
        ((b"A=1\rB", b"=2"), (["A=1"], "B=2", 0)),
        ((b"A=1\nB=2\n",), (["A=1", "B=2"], "", 0)),
        ((b"  A=1 \n\n",), (["A=1"], "", 0)),
        ((b"AX\x7f=1\b2",), ([], "A=2", 0)),
        ((b"A=1\x15B",), ([], "B", 0)),
        (("°".encode()[:1], "°".encode()[1:]), ([], "°", 0)),
        ((b"\x1b[A\x1bOB\x1bOB\x1b[6~",), ([], "", 1 + PAGE)),
        ((b"\x1b", b"[", b"5", b"~x"), ([], "x", -PAGE)),
        ((b"\x1b[1;5C\x1bx\x00",), ([], "x", 0)),
        ((b"A=1", b""), (["A=1"], "", 0)),  # the last line of a file, without an end
        ((b"A=1\n", b"", b""), (["A=1"], "", 0)),
    ],
)
def test_what_is_typed(chunks: tuple[bytes, ...], seen: tuple[list[str], str, int]) -> None:
    assert typed(*chunks) == seen


def test_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"A=1\nB=2")
    os.close(writing)
    keys = Keyboard()
    keys.read(reading)
    os.close(reading)
    assert keys.lines(0) == ["A=1", "B=2"]
    keys.read(reading)  # a descriptor that was taken away is at its end, too
    assert keys.lines(0) == []
