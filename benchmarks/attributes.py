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

ROUNDS = 7
NUMBER = 20_000  # times

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
    """The least that an assignment to bytes under a lock takes, by a name that is only known at run time."""

    def __init__(self) -> None:
        lock, memory, pack_into = threading.Lock(), bytearray(64), struct.Struct(">I").pack_into

        def assign(value: int) -> None:
            with lock:
                pack_into(memory, 0, value)

        object.__setattr__(self, "_setters", {"value": assign})

    def __setattr__(self, name: str, value: int) -> None:
        self._setters[name](value)


class OnClass(MemoryStore, size=32, coils=8):
    """The same variable, declared in a class body."""

    uint32 = MemoryVariable.uint32(0)


def measure(number: int = NUMBER) -> dict[str, dict[str, float]]:
    """Ratios to a plain property: get and set, of each type, in each circumstance."""

    def nanoseconds(statement: str, names: dict[str, Any], times: int = number) -> float:
        timer = timeit.Timer(statement, globals=names)
        timer.timeit(times // 10)
        return statistics.median(timer.repeat(ROUNDS, times)) / times * 1e9

    plain = Plain()
    base_get = nanoseconds("x.value", {"x": plain})
    base_set = nanoseconds("x.value = 5", {"x": plain})
    locked = Locked()
    found: dict[str, dict[str, float]] = {"plain property, ns": {"get": base_get, "set": base_set}}

    found["the least that takes a lock"] = {
        "get": 0.0,
        "set": nanoseconds("x.value = 5", {"x": locked}) / base_set,
    }

    found["a lock, taken and let go"] = {
        "get": 0.0,
        "set": nanoseconds("with x:\n  pass", {"x": threading.Lock()}) / base_set,
    }

    def both(what: str, store: Any, name: str, value: Any) -> None:
        found[what] = {
            "get": nanoseconds(f"x.{name}", {"x": store}) / base_get,
            "set": nanoseconds(f"x.{name} = v", {"x": store, "v": value}) / base_set,
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
        cost = nanoseconds("x.snapshot()", {"x": many}, max(1, number // 10 // count)) / base_get
        found[f"snapshot() of {count} variables"] = {"get": cost, "set": 0.0}
    found["snapshot()"] = {"get": nanoseconds("x.snapshot()", {"x": store}) / base_get, "set": 0.0}
    found["atomic(), two assignments"] = {
        "get": 0.0,
        "set": nanoseconds("with x.atomic():\n  x.word = 1\n  x.uint32 = 2", {"x": store}) / base_set,
    }
    return found


if __name__ == "__main__":
    rows = measure()
    if "--json" in sys.argv:
        print(json.dumps(rows))
    else:
        for what, each in rows.items():
            print(f"{what:40} get {each['get']:8.1f}  set {each['set']:8.1f}")
