"""Behaviours: their notation, values as functions of time, and a memory that moves by them."""

from __future__ import annotations

import itertools
import random

import pytest

from msm import DeclarationError, MemoryStore, MemoryVariable, UnknownVariableError
from msm.cli.behaviour import FORMS, behaviour
from msm.cli.machine import Machine

V = MemoryVariable
CHANCE = random.Random(0)


def nobody(name: str) -> float:
    raise AssertionError(f"nobody asked for {name}")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("ramp 0 100 10", {0: 0, 2.5: 25, 9.9: 99, 10: 0, 12.5: 25}),
        ("ramp 100 0 10", {0: 100, 2.5: 75, 10: 100}),
        ("sine 20 80 8", {0: 50, 2: 80, 4: 50, 6: 20, 8: 50}),
        ("counter 1 3 2", {0: 1, 1.9: 1, 2: 2, 4: 3, 6: 1}),
        ("counter 3 1 1", {0: 3, 1: 2, 2: 1, 3: 3}),
        ("counter 0 1 0.5", {0: 0, 0.5: 1, 1: 0}),
    ],
)
def test_a_value_is_a_function_of_time(text: str, values: dict[float, float]) -> None:
    moves = behaviour(text, CHANCE)
    assert {at: pytest.approx(moves.at(at, nobody)) for at in values} == values


def test_a_walk_takes_steps_by_chance_and_stays_within_its_limits() -> None:
    moves, again = (behaviour("walk 0 10 3", random.Random("x")) for _ in range(2))
    values = [moves.at(at, nobody) for at in range(200)]
    assert values[0] == 5
    assert all(0 <= value <= 10 for value in values)
    assert all(abs(after - before) <= 3 for before, after in itertools.pairwise(values))
    assert len(set(values)) > 100
    assert moves.at(199.9, nobody) == values[-1]
    assert again.at(199, nobody) == values[-1]  # however often it was looked at


def test_an_echo_comes_later() -> None:
    moves = behaviour("echo SET POINT 2", CHANCE)
    assert moves.source == "SET POINT"
    commands = {0.0: 1, 1.0: 2, 2.0: 2, 3.0: 7, 4.0: 7, 5.0: 7}
    assert [moves.at(at, lambda name: commands[at]) for at in commands] == [1, 1, 1, 2, 2, 7]  # noqa: B023


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", ""),
        ("sin 1 2 3", "; did you mean sine?"),
        ("sine 1 2", ""),
        ("sine 1 2 0", ""),
        ("sine 1 2 x", ""),
        ("sine 1 2 nan", ""),
        ("ramp 1 2 3 4", ""),
        ("echo", ""),
        ("echo NAME", ""),
        ("echo NAME -1", ""),
    ],
)
def test_what_is_no_behaviour_is_told(text: str, hint: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        behaviour(text, CHANCE)
    assert str(caught.value) == f"behaviour {text!r} is none of: {'; '.join(FORMS)}{hint}"


def machine() -> Machine:
    mem = MemoryStore(20, coils=2)
    mem.LEVEL = V.float32(0, access="ro", behaviour="ramp 0 100 10")
    mem.PARTS = V.word(2, behaviour="sine 0 10 8")
    mem.TEMP = V.int16(3, scale=0.5, unit="°C", behaviour="ramp 0 10 10")
    mem.LAMP = V.coil(0, behaviour="counter 0 1 1")
    mem.WANTED = V.word(4)
    mem.IS = V.byte(5, byte_number=0, behaviour="echo WANTED 1")
    return Machine(mem)


def test_a_machine_moves_what_has_a_behaviour() -> None:
    moving = machine()
    mem = moving.store
    moving.advance(1.0)
    assert (mem.LEVEL, mem.PARTS, mem.TEMP, mem.LAMP, mem.IS) == (10.0, 9, 1.0, True, 0)
    mem.WANTED = 7
    moving.advance(2.0)
    assert (mem.LEVEL, mem.PARTS, mem.LAMP, mem.IS) == (20.0, 10, False, 0)
    moving.advance(3.0)
    assert mem.IS == 7
    assert moving.moving == 5


def test_what_is_set_by_hand_stays_until_it_is_let_go() -> None:
    moving = machine()
    assert moving.set("TEMP", "4.5") == "TEMP = 4.5 °C"
    assert moving.set("LEVEL", "77") == "LEVEL = 77"  # also what is read-only for clients
    moving.advance(1.0)
    assert (moving.store.TEMP, moving.store.LEVEL, moving.moving) == (4.5, 77.0, 3)
    assert moving.set("TEMP", "") == "TEMP moves again"
    moving.advance(1.0)
    assert (moving.store.TEMP, moving.store.LEVEL) == (1.0, 77.0)


def test_an_echo_that_does_not_fit_is_told_and_the_rest_moves() -> None:
    moving = machine()
    moving.store.WANTED = 300
    for at in (1.0, 2.0, 3.0):
        moving.advance(at)
    assert moving.troubles["IS"].startswith("IS: 300 is out of range")
    assert moving.store.LEVEL == 30.0
    moving.store.WANTED = 30
    moving.advance(4.0)
    moving.advance(5.0)
    assert moving.store.IS == 30
    assert not moving.troubles


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        (V.word(0, behaviour="ramp -1 5 10"), "X: -1 is out of range"),
        (V.string(0, 4, behaviour="ramp 0 5 10"), "X: 0"),
        (V.word(0, behaviour="rump 0 5 10"), "X: behaviour 'rump 0 5 10' is none of"),
    ],
)
def test_a_behaviour_that_does_not_fit_is_told_at_the_start(variable: V[object], told: str) -> None:
    mem = MemoryStore(4)
    mem.X = variable
    with pytest.raises(DeclarationError, match=f"^{told}"):
        Machine(mem)


def test_an_echo_of_nothing_is_told_at_the_start() -> None:
    mem = MemoryStore(4)
    mem.SPEED = V.word(0)
    mem.X = V.word(1, behaviour="echo SPED 1")
    with pytest.raises(DeclarationError, match=r"^X: no variable 'SPED' is in the map; did you mean SPEED"):
        Machine(mem)


def test_only_what_is_there_can_be_set() -> None:
    with pytest.raises(UnknownVariableError):
        machine().set("NIX", "1")
