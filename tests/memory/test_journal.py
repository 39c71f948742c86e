"""What was assigned, for those who deliver it now or later."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from msm import MemoryStore, MemoryVariable
from msm.memory.image import Image
from msm.memory.journal import Journal, Span
from msm.memory.store import image_of


class Owner:
    """Somebody who is told, and drains when he likes."""

    def __init__(self, image: Image) -> None:
        self.told = 0
        self.image = image
        self.journal = Journal(weakref.WeakMethod(self.ring))
        image.attach(self.journal)

    def ring(self) -> None:
        self.told += 1

    def drain(self) -> dict[Span, int]:
        with self.image.lock:
            noted = self.journal.drain()
        spans = {mark: times for mark, times in noted.items() if isinstance(mark, Span)}
        assert len(spans) == len(noted), "none of them is a command"
        return spans

    def bits(self) -> dict[int, int]:
        """All the bits noted since the last drain: address -> bits of that word."""
        found: dict[int, int] = {}
        for span in self.drain():
            for at in range(span.cells):
                part = span.mask >> 16 * (span.cells - 1 - at) & 0xFFFF
                found[span.address + at] = found.get(span.address + at, 0) | part
        return {address: part for address, part in found.items() if part}


def store() -> MemoryStore:
    mem = MemoryStore(8)
    mem.LONG = MemoryVariable.uint32(1)
    mem.WORD = MemoryVariable.word(3)
    mem.BIT = MemoryVariable.bool(3, 0)
    mem.BYTE = MemoryVariable.byte(0, 1)
    return mem


def test_every_way_of_assigning_is_noted_with_its_bits_and_its_name() -> None:
    mem = store()
    owner = Owner(image_of(mem))
    mem.LONG = 1
    mem.BIT = True
    mem["BYTE"] = 2
    mem.set_value(5, 5)
    mem[6:8] = [6, 7]
    noted = [(span.name, span.address, span.cells, span.mask, times) for span, times in owner.drain().items()]
    assert noted == [
        ("LONG", 1, 2, 0xFFFFFFFF, 1),
        ("BIT", 3, 1, 1, 1),
        ("BYTE", 0, 1, 0xFF00, 1),
        ("holding[5]", 5, 1, 0xFFFF, 1),
        ("holding[6:8]", 6, 2, 0xFFFFFFFF, 1),
    ]
    assert owner.drain() == {}


def test_the_order_is_that_of_the_last_assignment_and_each_is_counted() -> None:
    mem = store()
    owner = Owner(image_of(mem))
    for _ in range(3):
        mem.LONG = 1
        mem.WORD = 2
    mem.LONG = 3
    assert [(span.name, times) for span, times in owner.drain().items()] == [("WORD", 3), ("LONG", 4)]


def test_the_owner_is_told_once_until_he_drains() -> None:
    mem = store()
    owner = Owner(image_of(mem))
    for value in range(10):
        mem.LONG = value
    assert owner.told == 1
    owner.drain()
    mem.WORD = 1
    mem.WORD = 2
    assert owner.told == 2


def test_a_refused_assignment_is_not_noted() -> None:
    mem = store()
    owner = Owner(image_of(mem))
    for wrong in (-1, 2**32, 1.0):
        try:
            mem.LONG = wrong
        except (ValueError, TypeError):
            continue
        raise AssertionError(wrong)
    assert (owner.drain(), owner.told) == ({}, 0)


def test_what_a_poll_brings_is_noted_for_nobody() -> None:
    mem = store()
    owner = Owner(image_of(mem))
    image_of(mem).merge("holding", 0, 2, lambda _: b"\1\2\3\4")
    assert mem[0:2] == [0x0102, 0x0304]
    assert owner.drain() == {}


def test_what_a_remote_client_writes_is_noted_for_clients_that_are_there() -> None:
    mem = store()
    owner = Owner(image_of(mem))
    image_of(mem).accept("holding", 1, 2, lambda _: b"\0\1\0\2")
    image_of(mem).accept("holding", 3, 1, lambda _: b"\0\1", mask=0x0001)
    assert [(span.address, span.cells, span.mask) for span in owner.drain()] == [(1, 2, 0xFFFFFFFF), (3, 1, 1)]
    assert owner.told == 1
    assert Owner(image_of(mem)).drain() == {}, "but not for those that come later"


def test_one_who_comes_later_gets_what_nobody_delivered() -> None:
    mem = store()
    mem.WORD = 1
    mem.LONG = 2
    mem.LONG = 3
    first = Owner(image_of(mem))
    assert [span.name for span in first.drain()] == ["WORD", "LONG"]
    second = Owner(image_of(mem))
    assert [span.name for span in second.drain()] == ["WORD", "LONG"]
    with image_of(mem).lock:
        image_of(mem).delivered(Span("holding", 1, 2, 0xFFFFFFFF, ""))
        image_of(mem).delivered(Span("holding", 3, 1, 0x00FF, ""))
    assert Owner(image_of(mem)).bits() == {3: 0xFF00}


def test_detached_is_told_no_more() -> None:
    mem = store()
    owner = Owner(image_of(mem))
    image_of(mem).detach(owner.journal)
    image_of(mem).detach(owner.journal)
    mem.WORD = 1
    assert (owner.told, owner.drain()) == (0, {})


def test_nobody_is_kept_alive_by_a_journal() -> None:
    mem = store()
    gone = weakref.ref(Owner(image_of(mem)))
    gc.collect()
    assert gone() is None
    mem.WORD = 1
    Owner(image_of(mem))


# -- against a naive model: one fact for each bit

WORDS = 4
action = st.one_of(
    st.tuples(st.just("assign"), st.integers(0, WORDS - 1), st.integers(1, 2), st.integers(1, 0xFFFFFFFF)),
    st.tuples(st.just("accept"), st.integers(0, WORDS - 1), st.integers(1, 2), st.integers(1, 0xFFFFFFFF)),
    st.tuples(st.just("delivered"), st.integers(0, WORDS - 1), st.integers(1, 2), st.integers(1, 0xFFFFFFFF)),
)


@given(st.lists(action, max_size=30))
def test_what_is_left_for_one_who_comes_later(actions: list[tuple[str, int, int, int]]) -> None:
    image = Image(WORDS, 0, 0, 0)
    mine: set[tuple[int, int]] = set()  # (word, bit) assigned by the application and not delivered
    for verb, address, wanted, raw_mask in actions:
        cells = min(wanted, WORDS - address)
        mask = raw_mask & (1 << 16 * cells) - 1
        bits = {
            (address + at, bit) for at in range(cells) for bit in range(16) if mask >> 16 * (cells - 1 - at) + bit & 1
        }
        span = Span("holding", address, cells, mask, "X")
        if verb == "assign":
            image.assign(span, image.region(span), bytes(2 * cells))
            mine |= bits
        elif verb == "accept":
            image.accept("holding", address, cells, lambda old: old, mask=mask)
            mine -= bits
        else:
            with image.lock:
                image.delivered(span)
            mine -= bits
    left = Owner(image).bits()
    assert {(address, bit) for address, part in left.items() for bit in range(16) if part >> bit & 1} == mine
