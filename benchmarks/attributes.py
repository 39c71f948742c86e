"""Reading and assigning attributes, as ratios to a plain property in the same run: `python attributes.py [--json]`."""

from __future__ import annotations

import json
import statistics
import struct
import sys
import threading
import timeit
from typing import Any

from msm import MemoryStore, MemoryVariable, ModbusClient, ModbusServer

ROUNDS = 15
NUMBER = 10_000  # times

DECLARED: dict[str, tuple[Any, Any]] = {
    "uint32": (MemoryVariable.uint32(0), 99999),
    "word": (MemoryVariable.word(2), 25),
    "int16": (MemoryVariable.int16(3), -5),
    "bool": (MemoryVariable.bool(4, 3), True),
    "byte": (MemoryVariable.byte(5, 1), 200),
    "float32": (MemoryVariable.float32(6), 1.5),
    "float64": (MemoryVariable.float64(8), 1.5),
    "uint64": (MemoryVariable.uint64(12), 1 << 40),
    "scaled": (MemoryVariable.int16(16, scale=0.1), 1.5),
    "string": (MemoryVariable.string(20, 10), "ABCDEFGHIJ"),
    "coil": (MemoryVariable.coil(3), True),
}


class Plain:
    """The baseline: a property in plain Python."""

    def __init__(self) -> None:
        self._value = 0

    @property
    def value(self) -> int:
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        self._value = value


class Locked:
    """The least that an assignment to bytes takes, with a check of its value and under a lock.

    Of 32 bits, low word first, by a name that is only known at run time. Nobody is told of it.
    """

    def __init__(self) -> None:
        lock, memory, pack_into = threading.Lock(), bytearray(64), struct.Struct(">HH").pack_into

        def assign(value: int) -> None:
            if type(value) is int and 0 <= value <= 0xFFFFFFFF:
                with lock:
                    pack_into(memory, 0, value & 0xFFFF, value >> 16)
            else:
                raise ValueError(value)

        object.__setattr__(self, "_setters", {"value": assign})

    def __setattr__(self, name: str, value: int) -> None:
        self._setters[name](value)


class OnClass(MemoryStore, size=32, coils=8):
    """The same variable, declared in a class body."""

    uint32 = MemoryVariable.uint32(0)


def measure(number: int = NUMBER) -> dict[str, dict[str, float]]:
    """Ratios to a plain property: get and set, of each type, in each circumstance."""
    plain = {"x": Plain()}
    get, put = timeit.Timer("x.value", globals=plain), timeit.Timer("x.value = 5", globals=plain)
    base: list[float] = []

    def ratio(statement: str, names: dict[str, Any], to: timeit.Timer, times: int = number) -> float:
        """The median of the rounds, in each of which both are timed."""
        timer, ratios = timeit.Timer(statement, globals=names), []
        timer.timeit(times // 10)
        for _ in range(ROUNDS):
            taken, theirs = timer.timeit(times) / times, to.timeit(number) / number
            ratios.append(taken / theirs)
            if to is get:
                base.append(theirs * 1e9)
        return statistics.median(ratios)

    found: dict[str, dict[str, float]] = {}
    found["the least that checks and takes a lock"] = {
        "get": 0.0,
        "set": ratio("x.value = v", {"x": Locked(), "v": 99999}, put),
    }
    found["a lock, taken and let go"] = {"get": 0.0, "set": ratio("with x:\n  pass", {"x": threading.Lock()}, put)}

    def both(what: str, store: Any, name: str, value: Any) -> None:
        found[what] = {
            "get": ratio(f"x.{name}", {"x": store}, get),
            "set": ratio(f"x.{name} = v", {"x": store, "v": value}, put),
        }

    store: Any = MemoryStore(32, coils=8)
    for name, (variable, _) in DECLARED.items():
        setattr(store, name, variable)
    for name, (_, value) in DECLARED.items():
        both(f"{name}, on an instance", store, name, value)
    both("uint32, on a class", OnClass(), "uint32", 99999)
    far: Any = MemoryStore(32)
    with ModbusServer(far, "tcp://127.0.0.1:0") as server:
        near: Any = OnClass()
        with ModbusClient(near, server.endpoint, period=86400, poll="declared"):
            both("uint32, with a client attached", near, "uint32", 99999)
    for count in (1, 10, 100, 1000):
        many = MemoryStore(2 * count)
        for at in range(count):
            setattr(many, f"V{at}", MemoryVariable.uint32(2 * at))
        cost = ratio("x.snapshot()", {"x": many}, get, max(1, number // 10 // count))
        found[f"snapshot() of {count} variables"] = {"get": cost, "set": 0.0}
    found["snapshot()"] = {"get": ratio("x.snapshot()", {"x": store}, get), "set": 0.0}
    found["atomic(), two assignments"] = {
        "get": 0.0,
        "set": ratio("with x.atomic():\n  x.word = 1\n  x.uint32 = 2", {"x": store}, put),
    }
    found["plain property, ns"] = {"get": statistics.median(base), "set": 0.0}
    return found


if __name__ == "__main__":
    rows = measure()
    if "--json" in sys.argv:
        print(json.dumps(rows))
    else:
        for what, each in rows.items():
            print(f"{what:40} get {each['get']:8.1f}  set {each['set']:8.1f}")
