"""What was assigned, for those who deliver it.

Both books are written under the image's lock and read under the same lock: nobody sees a value without
its note, and no poll undoes a value whose note is still on its way.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple, TypeAlias


class Span(NamedTuple):
    """Bits of `cells` cells from `address`: `mask` is an integer over them.

    Of words the first one is the most significant, as it travels; of coils the first one is the lowest bit.
    `name` says who was assigned: a variable, or raw cells like "holding[3]".
    """

    table: str
    address: int
    cells: int
    mask: int
    name: str
    command: bool = False


class Region(NamedTuple):
    """Bits of the image's buffer: `bits` is a big-endian integer over `size` bytes from `offset`."""

    offset: int
    size: int
    bits: int


Done: TypeAlias = Callable[[str, str, int], None]  # fate, cause, and the exception code of the device or 0


class Command(NamedTuple):
    """An assignment that is sent by itself: `value` is an integer over the cells of the span.

    `done` is somebody who waits for its fate: a server that answers its client only then.
    """

    span: Span
    value: int
    number: int
    done: Done | None = None


MAX_COMMANDS = 1000  # that nobody has taken yet


class Journal:
    """The spans assigned since the last drain, in the order of their last assignment, each with its number.

    Its size is bounded by the number of different spans, not by the number of assignments. Commands are
    noted one by one, the last `MAX_COMMANDS` of them; `dropped` counts those that were lost.
    """

    __slots__ = ("_commands", "_number", "_ring", "dropped", "is_rung", "marks")

    def __init__(self, ring: weakref.WeakMethod[Callable[[], None]]) -> None:
        """:param ring: called when there is something to drain; the journal does not keep its owner alive."""
        self.marks: dict[Span | Command, int] = {}
        self._commands = 0
        self._number = 0
        self.dropped = 0
        self._ring = ring
        self.is_rung = False

    def mark(self, span: Span) -> None:
        """Note one assignment."""
        self.marks[span] = self.marks.pop(span, 0) + 1

    def command(self, span: Span, value: int, done: Done | None = None) -> None:
        """Note a command: each one is kept, with its value."""
        if self._commands == MAX_COMMANDS:
            oldest = next(mark for mark in self.marks if isinstance(mark, Command))
            del self.marks[oldest]
            self.dropped += 1
            if oldest.done is not None:
                oldest.done("expired", "too many commands are waiting", 0)
            self._commands -= 1
        self._number += 1
        self._commands += 1
        self.marks[Command(span, value, self._number, done)] = 1

    def ring(self) -> None:
        """Tell the owner, once until it drains: waking an event loop costs more than an assignment."""
        if self.marks and not self.is_rung and (ring := self._ring()) is not None:
            self.is_rung = True
            ring()

    @property
    def held(self) -> bool:
        """Is there still somebody who drains it?"""
        return self._ring() is not None

    def drain(self) -> dict[Span | Command, int]:
        """All that was noted since the last drain."""
        self.is_rung = False
        marks, self.marks = self.marks, {}
        self._commands = 0
        return marks


class Backlog:
    """What the application assigned and nobody has delivered: for a client that is attached later.

    A bit leaves it when a remote client overwrites it or when a client learns its fate. An assignment is only
    noted; which bits are still its own is worked out when somebody overwrites or asks.
    """

    __slots__ = ("_assigned", "_noted", "last", "spans")

    def __init__(self, size: int) -> None:
        self._noted: dict[Span, Region] = {}
        self.last: Span | None = None
        self.spans: dict[Span, Region] = {}
        self._assigned = bytearray(size)

    def mark(self, span: Span, region: Region) -> None:
        """Note one assignment."""
        if span is not self.last:  # else it is the last one already
            self._noted.pop(span, None)
            self._noted[span] = region
            self.last = span

    def forget(self, region: Region) -> None:
        """These bits are no longer what the application assigned, or need not be sent again."""
        if self._noted or self.spans:
            self._fold()
            self._change(region, keep=False)

    def remaining(self) -> dict[Span, int]:
        """The spans of which something is left, oldest assignment first, each with its bits of the buffer."""
        self._fold()
        left: list[tuple[Span, int]] = []
        unclaimed = Backlog(0)
        unclaimed._assigned = self._assigned.copy()
        for span, region in reversed(self.spans.items()):
            bits = unclaimed._read(region)
            if bits:
                left.append((span, bits))
                unclaimed._change(region, keep=False)
        self.spans = {span: self.spans[span] for span, _ in reversed(left)}
        return dict(reversed(left))

    def _fold(self) -> None:
        for span, region in self._noted.items():
            self.spans.pop(span, None)
            self.spans[span] = region
            self._change(region, keep=True)
        self._noted.clear()
        self.last = None

    def _read(self, region: Region) -> int:
        offset, size, bits = region
        return int.from_bytes(self._assigned[offset : offset + size], "big") & bits

    def _change(self, region: Region, *, keep: bool) -> None:
        offset, size, bits = region
        old = int.from_bytes(self._assigned[offset : offset + size], "big")
        new = old | bits if keep else old & ~bits
        self._assigned[offset : offset + size] = new.to_bytes(size, "big")
