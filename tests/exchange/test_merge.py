"""Putting together, against a loop over bits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from msm.exchange.merge import merge

SIZE = st.shared(st.integers(0, 20), key="size")
raw = SIZE.flatmap(lambda size: st.binary(min_size=size, max_size=size))
mask = SIZE.flatmap(lambda size: st.integers(0, (1 << 8 * size) - 1))


def naive_words(ours: bytes, theirs: bytes, keep: int) -> bytes:
    """Bit 0 of `keep` is the lowest bit of the last byte."""
    result = bytearray()
    for at, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        byte = 0
        for bit in range(8):
            kept = keep >> 8 * (len(ours) - 1 - at) + bit & 1
            byte |= ((mine if kept else other) >> bit & 1) << bit
        result.append(byte)
    return bytes(result)


def naive_bits(ours: bytes, theirs: bytes, keep: int) -> bytes:
    """Bit 0 of `keep` is the lowest bit of the first byte."""
    result = bytearray()
    for at, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        kept = keep >> 8 * at & 0xFF
        result.append(mine & kept | other & ~kept & 0xFF)
    return bytes(result)


@given(raw, raw, mask)
def test_words_bit_by_bit(ours: bytes, theirs: bytes, keep: int) -> None:
    assert merge(ours, theirs, keep) == naive_words(ours, theirs, keep)


@given(raw, raw, mask)
def test_packed_bits_bit_by_bit(ours: bytes, theirs: bytes, keep: int) -> None:
    assert merge(ours, theirs, keep, "little") == naive_bits(ours, theirs, keep)


@given(raw, raw)
def test_all_or_nothing(ours: bytes, theirs: bytes) -> None:
    assert merge(ours, theirs, 0) == theirs
    assert merge(ours, theirs, (1 << 8 * len(ours)) - 1) == ours


def test_the_quickstarts_word() -> None:
    # CONTROL_WORD is 25 here, of which bits 1 to 15 were assigned; the device says 1.
    assert merge(b"\0\x18", b"\0\x01", 0xFFFE) == b"\0\x19"
