"""The linter: what it says of declarations that look wrong, and that it is silent where they do not."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from msm import MemoryStore, MemoryVariable
from msm.memory.layout import Finding
from tests.memory.layouts import quickstart


class Flags(enum.Flag):
    A = 1
    B = 2


def findings(*variables: MemoryVariable[Any], **shape: Any) -> list[Finding]:
    """What is found in a store with these variables, named a, b, c..."""
    mem = MemoryStore(**{"size": 1000, "input_registers": 100, "coils": 5000, "discrete_inputs": 100, **shape})
    for name, variable in zip("abcdefgh", variables, strict=False):
        mem[name] = variable
    return mem.layout().findings


def codes(*variables: MemoryVariable[Any], **shape: Any) -> list[str]:
    return [finding.code for finding in findings(*variables, **shape)]


V = MemoryVariable


@pytest.mark.parametrize(
    "variables",
    [
        [V.uint32(0), V.uint32(2), V.float64(4), V.string(8, 5)],
        [V.word(3), V.bool(3, 0), V.bits(3, 4, 2), V.byte(3, 1)],
        [V.word(3, access="ro"), V.bool(3, 0, access="ro"), V.flags(Flags, 4, access="ro"), V.bool(4, 1, access="ro")],
        [V.uint32(0), V.bool(1, 3)],
        [V.float32(0, count=10), V.float32(4), V.float32(6, count=2)],
        [V.word(0, count=20), V.float32(3), V.string(10, 4), V.int16(19)],
        [V.string(0, 3), V.byte(1, 0)],
        [V.uint32(0, table="input"), V.uint16(2, table="input", access="ro"), V.discrete(3)],
        [V.coil(0, count=8), V.coil(3), V.coil(9)],
        [V.word(0, access="wo", command=True, heartbeat=1.0), V.word(1, access="ro", period=2.0)],
        [V.word(0, access="rw"), V.bool(0, 3, access="wo")],
        [V.string(0, 8, word_order="big"), V.uint32(4), V.word(6, word_order="big")],
        [V.word(0, count=123), V.word(123), V.word(124, access="ro", count=1)],
    ],
)
def test_nothing_is_said_of_a_clean_map(variables: list[MemoryVariable[Any]]) -> None:
    assert findings(*variables) == []


def test_the_quickstart_is_clean() -> None:
    assert quickstart().layout().findings == []


@pytest.mark.parametrize(
    "variables",
    [
        [V.uint32(0), V.uint32(1)],
        [V.float64(0), V.float32(3)],
        [V.word(0, count=4), V.word(3, count=4)],
        [V.bits(0, 0, 4), V.bits(0, 2, 4)],
        [V.coil(0, count=4), V.coil(2, count=4)],
        [V.float32(0), V.word(1)],
        [V.float32(0), V.bool(1, 0)],
        [V.string(0, 8), V.uint32(0)],
        [V.float32(0, count=4), V.float32(1)],
        [V.string(0, 3), V.byte(1, 1)],
    ],
)
def test_overlaps_that_look_unintended(variables: list[MemoryVariable[Any]]) -> None:
    (finding,) = findings(*variables)
    assert (finding.code, finding.severity) == ("overlap", "warning")
    assert finding.names == ("a", "b")


def test_a_finding_is_in_plain_language() -> None:
    mem = MemoryStore(8)
    mem["low"], mem["high"] = V.uint32(0), V.uint32(1)
    (finding,) = mem.layout().findings
    assert finding == Finding(
        "overlap", "warning", ("low", "high"), "holding word 1",
        "low (uint32, words 0-1) and high (uint32, words 1-2) overlap",
        "Check both addresses, or whether one of the types is too long: assigning one destroys the other.",
    )  # fmt: skip
    assert str(finding).startswith("warning [overlap] holding word 1: low (uint32, words 0-1) and high")


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ([V.uint32(0), V.float32(0)], "alias"),
        ([V.uint32(0), V.uint32(0)], "alias"),
        ([V.bool(0, 1), V.bits(0, 1, 1)], "alias"),
        ([V.word(0), V.flags(Flags, 0)], "alias"),
        ([V.word(0, access="ro"), V.word(0, access="wo")], "alias"),
        ([V.uint32(0), V.word(1)], "part"),
        ([V.uint64(0), V.int32(2)], "part"),
    ],
)
def test_overlaps_that_may_be_meant(variables: list[MemoryVariable[Any]], code: str) -> None:
    (finding,) = findings(*variables)
    assert (finding.code, finding.severity, finding.names) == (code, "info", ("a", "b"))


def test_bits_of_one_word_written_by_both_sides() -> None:
    (finding,) = findings(
        V.bool(3, 0, access="ro"), V.bool(3, 1), V.bool(3, 2, access="wo"), V.bool(4, 0), V.bool(5, 0, access="ro")
    )
    assert (finding.code, finding.severity, finding.where) == ("both-sides", "warning", "holding word 3")
    assert sorted(finding.names) == ["a", "b", "c"]
    assert finding.message == "the device writes a and its clients write b and c, in the same word"
    assert "mask write" in finding.advice


def test_a_word_that_overwrites_the_bits_of_the_device() -> None:
    (finding,) = findings(V.word(3), V.bool(3, 0, access="ro"), V.bool(3, 1, access="ro"))
    assert (finding.code, finding.names) == ("both-sides", ("a", "b", "c"))
    assert finding.advice.startswith("Assigning a overwrites")
    (finding,) = findings(V.word(3, access="ro"), V.bool(3, 0))
    assert (finding.code, finding.names) == ("both-sides", ("a", "b"))
    (finding,) = findings(V.word(0, count=20), V.word(4, access="ro"))
    assert (finding.code, finding.names) == ("both-sides", ("a", "b"))
    (finding,) = findings(V.string(0, 3, access="ro"), V.byte(1, 0))  # they share a word and no bit
    assert (finding.code, finding.names) == ("both-sides", ("a", "b"))


def test_both_sides_cannot_write_input_registers() -> None:
    assert codes(V.bool(3, 0, table="input", access="ro"), V.bool(3, 1, table="input")) == []


def test_values_across_the_limits_of_blocks() -> None:
    (finding,) = findings(V.uint32(124))
    assert (finding.code, finding.severity, finding.names) == ("block-limit", "info", ("a",))
    assert "between 124 and 125" in finding.message
    assert codes(V.uint32(123), V.uint32(125), V.float64(249)) == ["block-limit"]
    assert codes(V.uint32(124, access="wo")) == []
    assert codes(V.coil(1999, count=2)) == ["block-limit"]


def test_values_longer_than_a_request() -> None:
    (finding,) = findings(V.word(0, count=124))
    assert (finding.code, finding.severity) == ("too-long", "warning")
    assert finding.message == "a has 124 words, more than one request can write (123)"
    (finding,) = findings(V.string(0, 260))
    assert finding.message == "a has 130 words, more than one request can read (125) or write (123)"
    assert codes(V.word(0, count=124, access="ro")) == []
    assert codes(V.word(0, count=126, access="ro")) == ["too-long"]
    assert codes(V.word(0, count=124, access="wo")) == ["too-long"]
    assert codes(V.coil(0, count=1969)) == ["too-long"]
    assert codes(V.coil(0, count=1968)) == []


@pytest.mark.parametrize(
    ("variable", "code"),
    [
        (V.word(0, table="input", access="rw"), "unreachable"),
        (V.word(0, table="input", access="wo"), "unreachable"),
        (V.discrete(0, access="rw"), "unreachable"),
        (V.word(0, access="ro", command=True), "command-read-only"),
        (V.word(0, access="ro", heartbeat=1.0), "heartbeat-read-only"),
        (V.word(0, table="input", heartbeat=1.0), "heartbeat-read-only"),
        (V.word(0, access="wo", period=1.0), "period-write-only"),
    ],
)
def test_what_cannot_be(variable: MemoryVariable[Any], code: str) -> None:
    (finding,) = findings(variable)
    assert (finding.code, finding.severity, finding.names) == (code, "warning", ("a",))


def test_mixed_orders() -> None:
    (finding,) = findings(V.uint32(0), V.uint32(2), V.float32(4, word_order="big"))
    assert (finding.code, finding.severity, finding.names) == ("mixed-word-order", "info", ("c",))
    assert finding.message == "1 of 3 values lie high word first, the others low word first: c"
    (finding,) = findings(V.word(0), V.word(2), V.bool(4, 0, byte_order="little"))
    assert (finding.code, finding.names) == ("mixed-byte-order", ("c",))


def test_names_that_differ_in_case_only() -> None:
    mem = MemoryStore(8, coils=8)
    mem["Pump"], mem["PUMP"], mem["pumps"] = V.word(1), V.coil(2), V.word(3)
    (finding,) = mem.layout().findings
    assert (finding.code, finding.severity, finding.names) == ("similar-names", "info", ("Pump", "PUMP"))
    assert finding.where == "holding word 1, coil 2"


def test_warnings_come_first() -> None:
    severities = [finding.severity for finding in findings(V.uint32(124), V.uint32(0), V.uint32(1))]
    assert severities == ["warning", "info"]


def test_the_list_is_the_callers_own() -> None:
    mem = MemoryStore(8)
    mem["a"], mem["b"] = V.uint32(0), V.uint32(1)
    layout = mem.layout()
    layout.findings.clear()
    assert len(layout.findings) == 1
