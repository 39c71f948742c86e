"""`atomic()`: several assignments that become one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from msm.memory.journal import Region, Span

if TYPE_CHECKING:
    from msm.memory.image import Image


class Assignment(NamedTuple):
    """One assignment of an `atomic()` block."""

    span: Span
    region: Region
    data: bytes


class Transaction:
    """What an `atomic()` block sees and what it has assigned so far.

    The block works on a copy, of the instant when it began. So it holds no lock that a server or a client would wait
    for; `exclusive` keeps only other blocks out, so that reading and assigning in a block is one step.
    """

    __slots__ = ("_savepoints", "assignments", "view")

    def __init__(self, view: bytearray) -> None:
        self.view = view
        self.assignments: list[Assignment] = []
        self._savepoints: list[tuple[int, bytes]] = []

    @staticmethod
    def current(image: Image) -> Transaction | None:
        """The block of this image that the caller is in."""
        for transaction in _current.get():
            if transaction in image.transactions:
                return transaction
        return None

    @classmethod
    @contextmanager
    def block(cls, image: Image) -> Iterator[None]:
        """An `atomic()` block: all of its assignments at its end, or none where it raises."""
        with image.exclusive:
            outer = cls.current(image)
            if outer is not None:
                outer._savepoints.append((len(outer.assignments), bytes(outer.view)))
                try:
                    yield
                except BaseException:
                    length, view = outer._savepoints[-1]
                    del outer.assignments[length:]
                    outer.view[:] = view
                    raise
                finally:
                    outer._savepoints.pop()
                return
            transaction = cls(image.buffer.copy())
            image.transactions.append(transaction)
            image.special.append(transaction)
            image.concerned.append(transaction)
            _current.set((*_current.get(), transaction))
            try:
                yield
            finally:
                image.transactions.remove(transaction)
                image.special.remove(transaction)
                image.concerned.remove(transaction)
                # Not by a token: a generator may be closed in another context than the one it was begun in.
                _current.set(tuple(other for other in _current.get() if other is not transaction))
            image.assign_all(transaction.assignments)

    def stage(self, assignment: Assignment) -> None:
        """Assign in the block's own view; the memory follows at its end."""
        self.assignments.append(assignment)
        put(self.view, assignment.region, assignment.data)


_current: ContextVar[tuple[Transaction, ...]] = ContextVar("msm_atomic", default=())


def put(buffer: bytearray, region: Region, data: bytes) -> None:
    """Change the bits of a region to those of `data`."""
    offset, size, bits = region
    old = int.from_bytes(buffer[offset : offset + size], "big")
    buffer[offset : offset + size] = (old & ~bits | int.from_bytes(data, "big") & bits).to_bytes(size, "big")
