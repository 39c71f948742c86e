"""Putting together what the device says and what the application assigned, bit by bit."""

from __future__ import annotations


def merge(ours: bytes, theirs: bytes, keep: int, order: str = "big") -> bytes:
    """The cells as they shall be: `theirs`, but for the bits in `keep`, which stay `ours`.

    :param ours: the cells in the memory, as they travel.
    :param theirs: the same cells as the device sent them.
    :param keep: the bits that are assigned and not yet settled, as an integer over the cells.
    :param order: "big" for words, whose first one is the most significant; "little" for packed bits.
    """
    if ours == theirs or not keep:
        return theirs
    mine = int.from_bytes(ours, order)  # type: ignore[arg-type]
    merged = mine ^ (mine ^ int.from_bytes(theirs, order)) & ~keep  # type: ignore[arg-type]
    return merged.to_bytes(len(ours), order)  # type: ignore[arg-type]
