"""What type checkers refuse. Never run.

Each comment that silences an error is itself an error where there is nothing to silence: mypy's warn_unused_ignores
and pyright's reportUnnecessaryTypeIgnoreComment. So every line here is seen to be refused by both.
"""

from __future__ import annotations

from msm import MemoryStore, MemoryVariable
from tests.typing.accepted import Fault, Press, State


def values(press: Press) -> None:
    press.speed = "40"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.speed = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.byte = 1.5  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.bit = "on"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.enum = 1  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.enum = Fault.HOT  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.flags = State.ON  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.string = b"bytes"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.ints = 5  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.ints = ("a",)  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.datetime = "now"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    press.coil = "on"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    float(press.byte_nan)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    float(press.int64)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    len(press.speed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def declarations() -> None:
    MemoryVariable.bool(0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    MemoryVariable.word("0")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    MemoryVariable.word(0, acess="ro")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    MemoryVariable.word(0, access="r")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    MemoryVariable.word(0, table="coils")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    MemoryVariable.byte(0, 1, count=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    MemoryVariable.string(0, 4, scale=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    MemoryVariable.coil(0, word_order="big")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    MemoryVariable.enum(int, 0)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    MemoryStore(8, word_order="middle")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    MemoryStore(8, inputs=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
