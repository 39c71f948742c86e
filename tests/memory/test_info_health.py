"""`info()`: what is known of a variable, and how good it is."""

from __future__ import annotations

import dataclasses
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import Info, MemoryStore, MemoryVariable, UnknownVariableError
from msm.memory.health import Health, Quality
from msm.memory.store import image_of


def store() -> MemoryStore:
    mem = MemoryStore(16, input_registers=8, coils=16)
    mem.SPEED = MemoryVariable.uint32(2, unit="rpm", label="of the shaft", scale=0.1)
    mem.BIT = MemoryVariable.bool(3, 15)
    mem.DOORS = MemoryVariable.coil(5, count=4)
    mem.LEVEL = MemoryVariable.int16(7, table="input")
    return mem


def test_all_that_is_known() -> None:
    mem = store()
    mem.SPEED = 7000.5
    assert mem.info("SPEED") == Info(
        name="SPEED", value=7000.5, words=(4469, 1), table="holding", address=2, quality="never", at=None, error="",
        unit="rpm", label="of the shaft",
    )  # fmt: skip
    mem.DOORS = (True, False, True, True)
    mem.LEVEL = -5
    doors, level = mem.info("DOORS"), mem.info("LEVEL")
    assert (doors.words, doors.table, doors.address) == ((1, 0, 1, 1), "coil", 5)
    assert (level.words, level.table, level.value) == ((65531,), "input", -5)
    mem[3] = 0x8001
    assert (mem.info("BIT").value, mem.info("BIT").words) == (True, (0x8001,))


def test_it_is_a_record() -> None:
    info = store().info("BIT")
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.quality = "good"  # type: ignore[misc]
    assert dataclasses.asdict(info)["name"] == "BIT"


def test_unknown_names() -> None:
    with pytest.raises(UnknownVariableError, match="did you mean SPEED"):
        store().info("SPED")


def test_value_and_words_are_of_one_instant() -> None:
    mem = MemoryStore(400)
    mem.X = MemoryVariable.word(0, count=400)
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number = (number + 1) % 60000
            mem[:] = [number] * 400

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(300):
            info = mem.info("X")
            assert info.value == info.words
            assert len(set(info.words)) == 1
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)


def known(mem: MemoryStore, name: str) -> tuple[Quality, float | None, str]:
    info = mem.info(name)
    return info.quality, info.at, info.error


def test_a_value_is_as_good_as_the_worst_of_its_cells() -> None:
    mem = store()
    health = image_of(mem).health
    health.good("holding", 0, 3, 100.0)
    assert known(mem, "SPEED") == ("never", None, "")  # its second word is missing
    health.good("holding", 3, 5, 90.0)
    assert known(mem, "SPEED") == ("good", 90.0, "")  # as old as the older one
    assert known(mem, "BIT") == ("good", 90.0, "")
    health.stale("holding", 2, 1, "no answer")
    assert known(mem, "SPEED") == ("stale", 90.0, "no answer")
    assert known(mem, "BIT") == ("good", 90.0, "")
    health.bad("holding", 3, 1, "exception 02")
    assert known(mem, "SPEED") == ("bad", 90.0, "no answer")
    assert known(mem, "BIT") == ("bad", 90.0, "exception 02")
    health.good("holding", 0, 16, 200.0)
    assert known(mem, "SPEED") == known(mem, "BIT") == ("good", 200.0, "")


def test_tables_have_their_own_health() -> None:
    mem = store()
    health = image_of(mem).health
    health.good("holding", 0, 16, 100.0)
    health.good("coil", 5, 4, 101.0)
    assert known(mem, "LEVEL") == ("never", None, "")
    assert known(mem, "DOORS") == ("good", 101.0, "")
    health.stale()
    assert known(mem, "DOORS") == ("stale", 101.0, "")
    assert known(mem, "SPEED") == ("stale", 100.0, "")
    assert known(mem, "LEVEL") == ("never", None, "")


def test_what_is_bad_or_was_never_read_does_not_become_stale() -> None:
    mem = store()
    health = image_of(mem).health
    health.bad("holding", 2, 2, "exception 02")
    health.good("holding", 8, 2, 1.0)
    health.stale()
    assert known(mem, "SPEED") == ("bad", None, "exception 02")
    mem.OTHER = MemoryVariable.word(12)
    assert known(mem, "OTHER") == ("never", None, "")


def test_an_assignment_makes_nothing_good() -> None:
    mem = store()
    image_of(mem).health.good("holding", 2, 2, 100.0)
    image_of(mem).health.stale()
    mem.SPEED = 5
    assert known(mem, "SPEED") == ("stale", 100.0, "")


RANKS: list[Quality] = ["good", "stale", "never", "bad"]
STEP = st.tuples(
    st.sampled_from(["good", "bad", "stale", "all"]), st.integers(0, 9), st.integers(1, 10), st.floats(1, 1000)
).filter(lambda step: step[1] + step[2] <= 10)


@given(steps=st.lists(STEP, max_size=12), address=st.integers(0, 9), data=st.data())
def test_against_a_model(steps: list[tuple[str, int, int, float]], address: int, data: st.DataObject) -> None:
    health = Health({"holding": 10})
    quality: list[Quality] = ["never"] * 10
    times: list[float] = [0.0] * 10
    errors = [""] * 10
    for number, (what, start, count, at) in enumerate(steps):
        cells = range(start, start + count)
        if what == "good":
            health.good("holding", start, count, at)
        elif what == "bad":
            health.bad("holding", start, count, f"error {number}")
        elif what == "stale":
            health.stale("holding", start, count, f"error {number}")
        else:
            health.stale()
            cells = range(10)
        for cell in cells:
            if what == "good":
                quality[cell], times[cell], errors[cell] = "good", at, ""
            elif what == "bad":
                quality[cell], errors[cell] = "bad", f"error {number}"
            else:
                quality[cell] = "stale" if quality[cell] == "good" else quality[cell]
                errors[cell] = f"error {number}" if what == "stale" else errors[cell]
    count = data.draw(st.integers(1, 10 - address))
    seen = health.of("holding", address, count)
    own = slice(address, address + count)
    assert seen.quality == max(quality[own], key=RANKS.index)
    assert seen.at == (min(times[own]) or None)
    assert seen.error == next((error for error in errors[own] if error), "")


def test_a_stamp_counts_when_somebody_asks_also_after_the_clock_was_set_back() -> None:
    health = Health({"holding": 10})
    stamp = health.stamp(("holding", 0, 4))
    stamp[0] = 1000.0
    assert health.of("holding", 0, 4)[:2] == ("good", 1000.0)
    stamp[0] = 400.0
    assert health.of("holding", 0, 4)[:2] == ("good", 400.0)


def test_what_is_stale_is_not_made_good_by_a_stamp_of_before() -> None:
    health = Health({"holding": 10})
    stamp = health.stamp(("holding", 0, 4))
    stamp[0] = 1000.0
    health.stale(error="the link is gone")
    assert health.of("holding", 0, 4) == ("stale", 1000.0, "the link is gone")
    health.good("holding", 0, 4, 2000.0)
    assert health.of("holding", 0, 4)[:2] == ("good", 2000.0), "nor is what was read the long way since"
