"""What the commands with a device share: addresses with a type, maps cut down to some names, and values as text."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support import FREE, free_port

from msm import (
    ConnectError,
    MapError,
    MemoryStore,
    MemoryVariable,
    ModbusServer,
    UnknownVariableError,
    ValueRangeError,
    ValueTypeError,
)
from msm.cli.device import addressed, connected, is_map, map_of
from msm.cli.text import as_json, parsed, plain, shown, with_unit

MAP = """
[variables.speed]
type = "float32"
address = 0
unit = "rpm"

[variables.state]
type = "enum"
address = 2
members = { OFF = 0, RUN = 1 }

[variables.faults]
type = "flags"
address = 3
members = { HOT = 1, OIL = 2 }

[variables.row]
type = "int16"
address = 4
count = 3
"""


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    file = tmp_path / "press.toml"
    file.write_text(MAP, "utf-8")
    return file


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("holding:100", "float32", ("float32", "holding", 100)),
        ("40101", "word", ("word", "holding", 100)),
        ("30001", "int32", ("int32", "input", 0)),
        ("coil:3", "float32", ("coil", "coil", 3)),
        ("discrete:3", "word", ("discrete", "discrete", 3)),
        ("holding:7.15", "float32", ("bool", "holding", 7)),
    ],
)
def test_an_address_is_a_variable(address: str, kind: str, said: tuple[str, str, int]) -> None:
    (variable,) = addressed([address], kind).variables().values()
    assert (variable.kind, variable.table, variable.address) == said
    assert variable.name == address


def test_addresses_may_be_arrays_texts_and_lie_high_word_first() -> None:
    store = addressed(["0"], "uint32", count=2, word_order="big")
    store[0:4] = [0, 1, 0, 2]
    assert store["0"] == (1, 2)
    assert addressed(["0"], "string", count=6).get_size() == 3


@pytest.mark.parametrize(
    ("address", "kind", "blamed"),
    [("holding:x", "word", "holding:x: "), ("0", "flot32", "--type: "), ("holding:65536", "word", "holding:65536: ")],
)
def test_a_wrong_address_or_type_is_told(address: str, kind: str, blamed: str) -> None:
    with pytest.raises(MapError) as caught:
        addressed([address], kind)
    assert str(caught.value).startswith(blamed)


def test_a_map_is_cut_down_to_the_names_that_were_asked_for(map_file: Path) -> None:
    assert is_map(str(map_file))
    assert not is_map("speed")
    assert not is_map("name=press.toml")
    assert list(map_of(map_file).variables()) == ["speed", "state", "faults", "row"]
    assert list(map_of(map_file, ["state"]).variables()) == ["state"]
    with pytest.raises(UnknownVariableError, match="did you mean speed"):
        map_of(map_file, ["sped"])


@pytest.mark.parametrize(
    ("value", "kind", "text", "for_scripts"),
    [
        (True, "bool", "true", True),
        (40.099998474121094, "float32", "40.1", 40.099998474121094),
        (40.1, "", "40.1", 40.1),
        (math.nan, "float64", "nan", "nan"),
        (None, "bcd16", "none", None),
        ((1, 2), "word", "1, 2", [1, 2]),
        ("a\x1b[31m", "string", "a\\x1b[31m", "a\x1b[31m"),
        (datetime(2024, 5, 17, 12, 30), "datetime", "2024-05-17 12:30:00", "2024-05-17T12:30:00"),
    ],
)
def test_values_as_text_and_as_json(value: Any, kind: str, text: str, for_scripts: Any) -> None:
    assert shown(value, kind) == text
    assert plain(value) == for_scripts


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("speed", "40.5", 40.5),
        ("speed", "0x10", 16),
        ("speed", "1e3", 1000.0),
        ("speed", "007", 7),
        ("state", "RUN", 1),
        ("state", "1", 1),
        ("faults", "HOT|OIL", 3),
        ("row", "1, -2,3", (1, -2, 3)),
    ],
)
def test_text_as_values_and_the_way_back(map_file: Path, name: str, text: str, value: Any) -> None:
    store = map_of(map_file)
    store[name] = parsed(store.variables()[name], text)
    assert store[name] == value
    assert parsed(store.variables()[name], shown(store[name])) == value


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        (MemoryVariable.bool(0, 1), "On", True),
        (MemoryVariable.coil(0), "0", False),
        (MemoryVariable.string(0, 4), "12", "12"),
        (MemoryVariable.word(0, nan=65535), "none", None),
        (MemoryVariable.datetime(0, "unix32"), "2024-05-17T12:30:00", datetime(2024, 5, 17, 12, 30)),
    ],
)
def test_text_as_values_of_other_types(variable: MemoryVariable[Any], text: str, value: Any) -> None:
    assert parsed(variable.named("it"), text) == value


@pytest.mark.parametrize(
    ("name", "text", "error", "told"),
    [
        ("speed", "fast", ValueTypeError, "speed: 'fast' is not a number"),
        ("state", "RUNN", ValueRangeError, "state: 'RUNN' is none of OFF, RUN"),
        ("faults", "HOT|COLD", ValueRangeError, "faults: 'HOT|COLD' is none of HOT, OIL"),
    ],
)
def test_text_that_is_no_value_is_told(map_file: Path, name: str, text: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=f"^{told.replace('|', '[|]')}$"):
        parsed(map_of(map_file).variables()[name], text)


def test_a_connected_store_has_the_values_of_the_device(map_file: Path) -> None:
    mem = MemoryStore.load(map_file)
    mem.speed = 40.0
    with ModbusServer(mem, FREE) as server:
        store = map_of(map_file, ["speed"])
        with connected(store, server.endpoint) as client:
            info = store.info("speed")
            assert (info.quality, with_unit(info, "float32")) == ("good", "40 rpm")
            assert as_json(info)["words"] == list(info.words)
            assert client.state.value == "online"
        assert client.state.value == "closed"


def test_nobody_there_is_told_after_a_few_time_outs() -> None:
    with (
        pytest.raises(ConnectError, match="connection refused"),
        connected(addressed(["0"]), f"tcp://127.0.0.1:{free_port()}", timeout=0.05),
    ):
        pass
