"""Register maps as files: what goes round unchanged, what is understood, and what is said of a broken file."""

from __future__ import annotations

import enum
import inspect
import json
import math
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msm import DeclarationError, MapError, MemoryStore, MemoryVariable
from msm.memory import mapjson, mapschema, maptoml
from msm.memory.addresses import Reference, parse_address
from msm.memory.mapspec import KEYS, OPTIONAL, REQUIRED, describe, keys_of
from msm.memory.named import LAYOUTS
from msm.memory.store import orders_of
from msm.memory.variable import KINDS

FORMATS = ("toml", "json", "csv")


def problems_of(path: Path, text: str) -> list[str]:
    """What is said of a map with that text; the file is called by its name only."""
    path.write_bytes(text.encode("utf-8"))
    with pytest.raises(MapError) as caught:
        MemoryStore.load(path)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.replace(str(path), path.name) for problem in caught.value.problems]


def load(path: Path, text: str) -> MemoryStore:
    path.write_bytes(text.encode("utf-8"))
    return MemoryStore.load(path)


class State(enum.Enum):
    OFF = 0
    ON = 1


# -- round trip

# Half of a surrogate pair is no character, and NUL is in nobody's register list.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = TEXT.filter(lambda name: bool(name) and name not in dir(MemoryStore) and not name.startswith("__"))
MEMBER_NAMES = TEXT.filter(lambda name: bool(name) and not name.startswith("_") and name != "mro" and "\0" not in name)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-1000, 1000)
SECONDS = st.floats(0.001, 86400) | st.integers(1, 86400)
ORDERS = st.sampled_from(["little", "big"])
RAW = {"byte": (0, 255), "int8": (-128, 127), "word": (0, 65535), "uint16": (0, 65535), "int16": (-32768, 32767),
       "uint32": (0, 2**32 - 1), "int32": (-(2**31), 2**31 - 1), "uint64": (0, 2**64 - 1), "int64": (-(2**63), 0),
       "bcd16": (0, 9999), "bcd32": (0, 99999999), "bits": (0, 1)}  # fmt: skip


@st.composite
def members(draw: st.DrawFn, kind: str) -> type[enum.Enum]:
    names = draw(st.lists(MEMBER_NAMES, max_size=4, unique=True))
    numbers = draw(st.lists(st.integers(0, 15), min_size=len(names), max_size=len(names)))
    values = [1 << number for number in numbers] if kind == "flags" else numbers
    base: Any = draw(st.sampled_from([enum.Flag, enum.IntFlag] if kind == "flags" else [enum.Enum, enum.IntEnum]))
    name = draw(TEXT.filter(lambda name: bool(name.strip()) and "\0" not in name))
    made: type[enum.Enum] = base(name, dict(zip(names, values, strict=True)))
    return made


@st.composite
def variables(draw: st.DrawFn) -> MemoryVariable[Any]:
    kind = draw(st.sampled_from(list(KINDS)))
    allowed = set(keys_of(kind))
    pools: dict[str, st.SearchStrategy[Any]] = {
        "table": st.sampled_from(["holding", "input"]),
        "access": st.sampled_from(["rw", "ro", "wo"]),
        "label": TEXT,
        "behaviour": st.sampled_from(["sine 20 80 10", "echo A,B 1"]),
        "unit": TEXT,
        "period": SECONDS,
        "heartbeat": SECONDS,
        "command": st.booleans(),
        "word_order": ORDERS,
        "byte_order": ORDERS,
        "count": st.integers(1, 5),
        "scale": FINITE.filter(bool),
        "offset": FINITE,
        "min": st.floats(-1e9, 0) | st.just(-math.inf),
        "max": st.floats(0, 1e9) | st.just(math.inf),
        "encoding": st.sampled_from(["ascii", "utf-8", "latin-1"]),
        "nan": st.floats(width=16) if kind.startswith("float") else st.integers(*RAW.get(kind, (0, 0))),
    }
    if kind in ("coil", "discrete"):
        del pools["table"]
    given = {key: draw(pool) for key, pool in pools.items() if key in allowed and draw(st.booleans())}
    match kind:
        case "bool":
            given["bit_number"] = draw(st.integers(0, 15))
        case "byte" | "int8":
            given["byte_number"] = draw(st.integers(0, 1))
        case "bits":
            given["bit_number"] = draw(st.integers(0, 15))
            given["length"] = draw(st.integers(1, 16 - given["bit_number"]))
        case "string":
            given["length"] = 2 * draw(st.integers(1, 20))
        case "datetime":
            given["layout"] = draw(st.sampled_from(list(LAYOUTS)))
        case "enum" | "flags":
            if draw(st.booleans()):
                given["size"] = draw(st.sampled_from(["word", "uint32", "int32"]))
            return KINDS[kind](draw(members(kind)), draw(st.integers(0, 50)), **given)  # type: ignore[no-any-return, operator]
    return KINDS[kind](draw(st.integers(0, 50)), **given)  # type: ignore[no-any-return, operator]


SHAPES = st.fixed_dictionaries(
    {"size": st.integers(200, 65536), "input_registers": st.integers(200, 300), "coils": st.just(60),
     "discrete_inputs": st.integers(60, 65536)},
    optional={"word_order": ORDERS, "byte_order": ORDERS},
)  # fmt: skip


def meaning(store: MemoryStore) -> tuple[object, ...]:
    """All that a map is to keep of a store, in a form that can be compared."""
    sizes = [store.get_size(table) for table in ("holding", "input", "coil", "discrete")]
    declared = []
    for name, variable in store.variables().items():
        enum_type = variable.arguments.get("enum_type")
        said = {
            key: f"{type(value).__name__} {value!r}"
            for key, value in {**variable.arguments, **variable.keywords}.items()
            if key != "enum_type" and value not in (None, "")
        }
        named = enum_type and (enum_type.__name__, [(k, m.value) for k, m in enum_type.__members__.items()])
        declared.append((name, variable.kind, variable.table, variable.address, sorted(said.items()), named))
    return sizes, orders_of(store), declared


@pytest.mark.parametrize("suffix", FORMATS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(shape=SHAPES, declared=st.dictionaries(NAMES, variables(), max_size=6))
def test_round_trip_loses_nothing(
    suffix: str, tmp_path: Path, shape: dict[str, Any], declared: dict[str, MemoryVariable[Any]]
) -> None:
    store = MemoryStore(**shape)
    for name, variable in declared.items():
        store[name] = variable
    path = tmp_path / f"map.{suffix}"
    store.save(path)
    again = MemoryStore.load(path)
    assert meaning(again) == meaning(store)
    text = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == text


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(declared=st.dictionaries(NAMES, variables(), max_size=4))
def test_what_is_saved_is_valid_by_the_schema(tmp_path: Path, declared: dict[str, MemoryVariable[Any]]) -> None:
    store = MemoryStore(300, input_registers=300, coils=60, discrete_inputs=60)
    for name, variable in declared.items():
        store[name] = variable
    store.save(tmp_path / "map.json")
    store.save(tmp_path / "map.toml")
    validator = jsonschema.Draft7Validator(mapschema.schema())
    validator.validate(json.loads((tmp_path / "map.json").read_text("utf-8")))
    data = tomllib.loads((tmp_path / "map.toml").read_text("utf-8"))
    if not any(isinstance(value, float) and not math.isfinite(value) for each in data.get("variables", {}).values()
               for value in each.values()):  # fmt: skip
        validator.validate(data)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "name", ["#size", "# remark", "a,b", 'say "x"', "Group.Tag", "täglich °C", "=1+1", " x ", "a\nb"]
)
def test_any_name_goes_round(suffix: str, name: str, tmp_path: Path) -> None:
    store = MemoryStore(4)
    store[name] = MemoryVariable.float32(1, nan=math.nan, label=f"{name}\r\n\t\\", unit=" µ ", scale=2)
    store.save(tmp_path / f"a.{suffix}")
    again = MemoryStore.load(tmp_path / f"a.{suffix}")
    variable = again.variables()[name]
    assert (variable.label, variable.unit) == (f"{name}\r\n\t\\", " µ ")
    assert math.isnan(variable.keywords["nan"])
    assert type(variable.keywords["scale"]) is int
    again[name] = None
    assert again[name] is None


def test_every_kind_says_all_that_its_constructor_takes() -> None:
    for kind, constructor in KINDS.items():
        parameters = set(inspect.signature(type(constructor).__call__).parameters) - {"self", "address", "keywords"}
        known = {*REQUIRED.get(kind, ()), *OPTIONAL.get(kind, ())}
        if kind in ("enum", "flags"):
            known = known - {"enum", "members"} | {"enum_type"}
        assert parameters == known, kind
        assert set(keys_of(kind)) <= set(KEYS)


def test_what_is_as_by_default_is_left_out() -> None:
    store = MemoryStore(8)
    store.A = MemoryVariable.string(0, 4, "ascii", label="")
    store.B = MemoryVariable.enum(State, 2)
    assert describe(store.variables()["A"]) == {"type": "string", "address": 0, "length": 4}
    assert describe(store.variables()["B"]) == {
        "type": "enum", "address": 2, "enum": "State", "members": {"OFF": 0, "ON": 1}
    }  # fmt: skip


def test_a_long_table_of_members_is_a_table_of_its_own(tmp_path: Path) -> None:
    store = MemoryStore(8)
    many: Any = enum.IntEnum("State", [f"MEMBER_{number}" for number in range(40)])  # type: ignore[misc]
    store.B = MemoryVariable.enum(many, 2)
    store.C = MemoryVariable.word(3)
    store.save(tmp_path / "a.toml")
    assert max(map(len, (tmp_path / "a.toml").read_text().splitlines())) <= 120
    assert meaning(MemoryStore.load(tmp_path / "a.toml")) == meaning(store)


# -- classes


class Press(MemoryStore, size=16, word_order="big"):
    state = MemoryVariable.enum(State, address=0, access="ro")
    speed = MemoryVariable.float32(2, unit="rpm")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_class_loads_its_own_map_with_its_own_enum(suffix: str, tmp_path: Path) -> None:
    press = Press()
    press.more = MemoryVariable.word(5)
    press.save(tmp_path / f"press.{suffix}")
    again = Press.load(tmp_path / f"press.{suffix}")
    assert isinstance(again, Press)
    assert again.state is State.OFF
    assert meaning(again) == meaning(press)


def test_what_a_map_does_not_say_is_as_the_class_says(tmp_path: Path) -> None:
    press = load_as(Press, tmp_path / "a.toml", '[variables.extra]\ntype = "word"\naddress = 15\n')
    assert (len(press), orders_of(press).word_order, list(press.variables())) == (
        16,
        "big",
        ["state", "speed", "extra"],
    )
    with pytest.raises(MapError, match=r"a\.toml: Press declares what does not fit: speed: .* 2 to 3 "):
        load_as(Press, tmp_path / "a.toml", "size = 3\n")


def load_as(cls: type[Press], path: Path, text: str) -> Press:
    path.write_text(text)
    return cls.load(path)


def test_variables_that_say_the_same_share_an_enum(tmp_path: Path) -> None:
    lines = ['[variables.A]\ntype = "enum"\naddress = 0\nenum = "S"\nmembers = { OFF = 0, ON = 1 }']
    lines += [
        lines[0].replace("A]", "B]").replace("= 0\nenum", "= 1\nenum"),
        lines[0].replace("A]", "C]").replace('"S"', '"T"'),
    ]
    store = load(tmp_path / "a.toml", "\n".join(lines))
    types = [store.variables()[name].arguments["enum_type"] for name in "ABC"]
    assert types[0] is types[1] is not types[2]
    assert store.A == 0  # its members are ints, since nobody could import the type
    assert types[2].__name__ == "T"


# -- shape


@pytest.mark.parametrize("suffix", FORMATS)
def test_sizes_that_are_not_given_are_the_smallest_that_do(suffix: str, tmp_path: Path) -> None:
    texts = {
        "toml": '[variables]\nA = {type="float64", address=6}\nB = {type="coil", address=9, count=3}\n'
        'C = {type="word", address="input:0"}\n',
        "json": '{"variables": [{"name": "A", "type": "float64", "address": 6},'
        '{"name": "B", "type": "coil", "address": 9, "count": 3}, {"name": "C", "type": "word", "address": "3x1"}]}',
        "csv": "name,type,address,count\nA,float64,6,\nB,coil,9,3\nC,word,30001\n",
    }
    store = load(tmp_path / f"a.{suffix}", texts[suffix])
    assert [store.get_size(table) for table in ("holding", "input", "coil", "discrete")] == [10, 1, 12, 0]


# -- addresses


@pytest.mark.parametrize(
    ("text", "base", "meant"),
    [
        (2, 0, Reference(None, 2)),
        (2, 1, Reference(None, 1)),
        (40003, 0, Reference(None, 40003)),
        ("2", 0, Reference(None, 2)),
        ("0002", 1, Reference(None, 1)),
        ("holding:2", 0, Reference("holding", 2)),
        ("holding:2", 1, Reference("holding", 1)),
        ("Input:0x1A", 0, Reference("input", 26)),
        ("coil:5", 0, Reference("coil", 5)),
        ("discrete:3.2", 0, Reference("discrete", 3, 2)),
        ("holding:40003", 0, Reference("holding", 40003)),
        ("40003", 0, Reference("holding", 2)),
        ("40003", 1, Reference("holding", 2)),
        ("400003", 0, Reference("holding", 2)),
        ("465536", 0, Reference("holding", 65535)),
        ("4x00003", 0, Reference("holding", 2)),
        ("4X3", 1, Reference("holding", 2)),
        ("30001", 0, Reference("input", 0)),
        ("3x65536", 0, Reference("input", 65535)),
        ("10008", 0, Reference("discrete", 7)),
        ("00001", 0, Reference("coil", 0)),
        ("000100", 0, Reference("coil", 99)),
        ("1x2", 0, Reference("discrete", 1)),
        # 0x and five digits is a coil, since an address has at most four hexadecimal digits.
        ("0x00001", 0, Reference("coil", 0)),
        ("0x00012", 0, Reference("coil", 11)),
        ("0x0001", 0, Reference(None, 1)),
        ("0x0012", 1, Reference(None, 17)),
        ("0xFFFF", 0, Reference(None, 65535)),
        ("0x1a", 0, Reference(None, 26)),
        (" 40003.5 ", 0, Reference("holding", 2, 5)),
        ("3.15", 0, Reference(None, 3, 15)),
        ("20003", 0, Reference(None, 20003)),
    ],
)
def test_addresses(text: object, base: int, meant: Reference) -> None:
    assert parse_address(text, base) == meant


@pytest.mark.parametrize(
    ("text", "base", "message"),
    [
        ("40000", 0, "references count from 1 to 65536, the first one of the holding table is 40001"),
        ("465537", 0, "references count from 1"),
        ("4x0", 0, "references count from 1"),
        ("0x00000", 0, "the first one of the coil table is 00001"),
        ("40001.16", 0, "bit 16 is not a number from 0 to 15"),
        ("register:2", 0, "'register' is none of holding, input, coil, discrete"),
        (0, 1, r"not within 1 to 65536 \(address_base 1\)"),
        ("holding:0", 1, "not within 1 to 65536"),
        (65536, 0, "not within 0 to 65535"),
        (-1, 0, "not within 0 to 65535"),
        (True, 0, "none of"),
        (1.5, 0, "none of"),
        (None, 0, "none of"),
        ("", 0, "none of: a number, holding:2"),
        ("x", 0, "none of"),
        ("0x", 0, "none of"),
        ("0x1234G", 0, "none of"),
        ("0x1234A", 0, "none of"),
        ("5x00001", 0, "none of"),
        ("٤٠٠٠١", 0, "none of"),
        ("9" * 5000, 0, "none of"),
        ("-1", 0, "none of"),
    ],
)
def test_what_is_no_address(text: object, base: int, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        parse_address(text, base)


@given(st.integers(0, 65535), st.sampled_from(["holding", "input", "coil", "discrete"]), st.sampled_from([0, 1]))
def test_what_is_written_is_read_as_it_was_meant(address: int, table: str, base: int) -> None:
    digit = {"coil": "0", "discrete": "1", "input": "3", "holding": "4"}[table]
    for text in (f"{table}:{address + base}", f"{digit}{address + 1:05}", f"{digit}x{address + 1:05}"):
        assert parse_address(text, base) == (table, address, None)
    assert parse_address(f"0x{address:04X}") == (None, address, None)
    if address < 9999:
        assert parse_address(f"{digit}{address + 1:04}", base) == (table, address, None)


@given(st.text(max_size=12) | st.integers() | st.none() | st.floats())
def test_any_address_is_read_or_refused(text: object) -> None:
    try:
        assert 0 <= parse_address(text).address <= 65535
    except DeclarationError as error:
        assert str(error).startswith("address")


def test_address_base_shifts_plain_addresses_only(tmp_path: Path) -> None:
    text = """
    address_base = 1
    coils = 8
    [variables]
    A = { type = "word", address = 3 }
    B = { type = "word", address = "holding:3" }
    C = { type = "word", address = "40003" }
    D = { type = "word", address = 0x3 }
    E = { type = "bool", address = "40003.5" }
    F = { type = "coil", address = 8 }
    G = { type = "bits", address = "3.4", length = 2 }
    """
    store = load(tmp_path / "a.toml", text)
    assert [variable.address for variable in store.variables().values()] == [2, 2, 2, 2, 2, 7, 2]
    assert store.variables()["E"].arguments == {"bit_number": 5}
    assert store.variables()["G"].arguments == {"bit_number": 4, "length": 2}
    store.save(tmp_path / "b.toml")
    assert "address_base = 0\n" in (tmp_path / "b.toml").read_text()
    assert meaning(MemoryStore.load(tmp_path / "b.toml")) == meaning(store)


# -- what is said of a broken file

BROKEN = """\
address_base = 2
size = 16
siez = 3
word_order = "bog"
coils = true

# a remark
[variables.A]
type = "word"
acess = "ro"
address = 99
access = "x"
scale = 0
label = '''
[variables.ghost]
scale = 1
'''
unit = 5

["variables" . "B C"]
type = "flot32"
adress = 3

[variables]
C = { type = "enum", address = "40003.5", members = { OFF = 0, ON = "x" } }
D.type = "bool"
D.address = "40003.5"
D.bit_number = 4

[variables.E]
type = "enum"
address = 40003
  [variables.E.members]
  OFF = 0
  ON = 70000
[variables.dump]
type = "word"
address = 1
[variables.F]
address = [
  1,
]
type = "datetime"
layout = "mars"
nan = 3
[variables.G]
type = "string"
address = "input:0"
table = "holding"
[variables.H]
type = "coil"
address = "input:0"
"""


def test_toml_problems_come_all_at_once_with_line_and_key(tmp_path: Path) -> None:
    found = problems_of(tmp_path / "a.toml", BROKEN)
    expected = [
        r"a.toml:1: address_base: address_base 2 is neither 0 nor 1",
        r"a.toml:3: siez: unknown key 'siez'; did you mean size\?; allowed are .*",
        r"a.toml:4: word_order: word_order 'bog' is neither 'little' nor 'big'",
        r"a.toml:5: coils: coils True is not a number from 0 to 65536",
        r"a.toml:10: variables.A.acess: unknown key 'acess'; did you mean access\?; allowed are .*",
        r"a.toml:11: variables.A.address: .*address 99 of the holding table: outside the memory, .* words 0 to 15",
        r"a.toml:12: variables.A.access: access 'x' is none of rw, ro, wo",
        r"a.toml:13: variables.A.scale: scale 0 .*",
        r"a.toml:18: variables.A.unit: unit 5 is not a str",
        r"a.toml:20: variables.B C: address is missing",
        r"a.toml:21: variables.B C.type: type 'flot32' is none of bool, .*; did you mean float32\?",
        r"a.toml:22: variables.B C.adress: unknown key 'adress'; did you mean address\?.*",
        r"a.toml:25: variables.C.members: member 'ON' is 'x', which is not a whole number",
        r"a.toml:28: variables.D.bit_number: bit_number 4 contradicts address '40003.5'",
        r'a.toml:32: variables.E.address: .*outside the memory.*; as a Modicon reference .*, "40003"',
        r"a.toml:33: variables.E.members: E has 70000, outside 0 to 65535, which is what fits",
        r"a.toml:36: variables.dump.name: dump: the store uses this name itself, take another one",
        r"a.toml:40: variables.F.address: address is an array, where a single value is wanted",
        r"a.toml:44: variables.F.layout: layout 'mars' is none of .*",
        r"a.toml:45: variables.F.nan: nan is not for a variable of type datetime, which takes .*",
        r"a.toml:46: variables.G: length is missing, a variable of type string needs it",
        r"a.toml:49: variables.G.table: table 'holding' contradicts address 'input:0', which is of the input table",
        r"a.toml:52: variables.H.address: table 'input': a coil lies in .*coil.*",
    ]
    for said, pattern in zip(found, expected, strict=False):
        assert re.fullmatch(pattern, said, re.DOTALL), said
    assert len(found) == len(expected)


def test_json_problems_have_line_and_key(tmp_path: Path) -> None:
    text = (
        '{"$schema": "msm.schema.json", "size": 4,\n "variables": [\n  {"name": "A", "type": "word",\n "address": 1},\n'
        '  {"name": "A", "type": "word", "address": 2},\n  5,\n  {"type": "word", "address": 1},\n'
        '  {"name": "B", "type": "word",\n   "address": 1, "label": "a{[,:",\n   "scale": [1],\n   "address": 9}\n]}'
    )
    assert problems_of(tmp_path / "a.json", text) == [
        "a.json:5: variables.A.name: declared twice, first at a.json:3: variables.A",
        "a.json:6: variables.2: each of an array of variables is a table with a name",
        "a.json:7: variables.3: each of an array of variables is a table with a name",
        "a.json:10: variables.B.scale: scale is an array, where a single value is wanted",
        "a.json:11: variables.4.address stands here again",
        "a.json:11: variables.B.address: a word does not fit, address 9 of the holding table: outside the memory, "
        "it has words 0 to 3",
    ]


def test_a_json_key_that_stands_twice_is_a_problem(tmp_path: Path) -> None:
    text = '{"variables": {"A": {"type": "word", "address": 0},\n "A": {"type": "coil", "address": 0}}}'
    assert problems_of(tmp_path / "a.json", text) == ["a.json:2: variables.A stands here again"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.toml", "size = \n", "a.toml:1:8: not TOML: Invalid value"),
        ("a.toml", "size = 1\nsize = 2\n", "a.toml:2:9: not TOML: Cannot overwrite a value"),
        ("a.toml", "variables = 3\n", "a.toml:1: variables: 3 is neither a table nor an array of variables"),
        (
            "a.toml",
            "[variables]\nA = 3\n",
            "a.toml:2: variables.A: 3 is not a table like { type = ..., address = ... }",
        ),
        ("a.json", '{"size":\n}', "a.json:2:1: not JSON: Expecting value"),
        ("a.json", "[" * 100_000, "a.json: not JSON that can be read: .*"),
        ("a.json", "[]", "a.json:1: a map is a table of settings and variables"),
        ("a.json", '{"variables": [{"name": 1}]}', "a.json:1: variables.0.name: name 1 is not a text"),
        ("a.json", "", "a.json:1:1: not JSON: Expecting value"),
        ("a.csv", "", "a.csv:1: no header, which is name,type,address,... or, as Kepware has it, .*"),
        ("a.csv", "# only\n# remarks\n", "a.csv:1: no header, .*"),
        ("a.csv", "x,y\n1,2\n", "a.csv:1: no header, .*"),
        ("a.csv", 'name,type,address\nA,word,"1\n', "a.csv:2: not CSV: unexpected end of data"),
    ],
)
def test_what_is_no_map_at_all(name: str, text: str, problem: str, tmp_path: Path) -> None:
    (said,) = problems_of(tmp_path / name, text)
    assert re.fullmatch(problem if ".*" in problem else re.escape(problem), said, re.DOTALL)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes("size = 4\n# °C\n".encode("latin-1"))
    with pytest.raises(MapError, match=r"a\.toml:2: byte 0xb0 is not UTF-8"):
        MemoryStore.load(tmp_path / "a.toml")


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    for name, text in (("a.toml", "size = 4\n"), ("a.json", '{"size": 4}'), ("a.csv", "#size,4\nname,type,address\n")):
        assert len(load(tmp_path / name, "\ufeff" + text)) == 4


def test_a_file_with_the_line_ends_of_windows(tmp_path: Path) -> None:
    text = '[variables.A]\r\ntype = "word"\r\naddress = 1\r\nlabel = """a\r\nb"""\r\nscale = "x"\r\n'
    assert problems_of(tmp_path / "a.toml", text) == ["a.toml:6: variables.A.scale: scale 'x' is not a number"]
    store = load(tmp_path / "a.csv", "#size,4\r\n\r\nname,type,address\r\nA,word,1\r\n")
    assert (len(store), list(store.variables())) == (4, ["A"])


@pytest.mark.parametrize(
    ("fields", "key", "message"),
    [
        ({"type": "bool", "bit_number": 16}, "bit_number", "bit_number 16 is not a number from 0 to 15"),
        ({"type": "byte", "byte_number": 2}, "byte_number", "byte_number 2 is not a number from 0 to 1"),
        ({"type": "bits", "bit_number": 8, "length": 9}, "length", "length 9 is not a number from 1 to 8"),
        ({"type": "string", "length": 0}, "length", "length 0 is not a number from 1 to 131072"),
        ({"type": "string", "length": 4, "encoding": "klingon"}, "encoding", "encoding 'klingon' is not known"),
        ({"type": "string", "length": 4, "encoding": "a\0b"}, "encoding", "encoding 'a"),
        ({"type": "word", "count": 0}, "count", "count 0 is not a number from 1 to 65536"),
        ({"type": "word", "nan": 70000}, "nan", "a word does not fit, nan: 70000 is out of range"),
        ({"type": "word", "min": 5, "max": 3}, "min", "min 5 is above max 3"),
        ({"type": "word", "period": "fast"}, "period", "period 'fast' is not a number of seconds"),
        ({"type": "word", "command": 1}, "command", "command 1 is not a bool"),
        ({"type": "word", "word_order": "middle"}, "word_order", "word_order 'middle' is neither"),
        ({"type": "enum", "members": {"A": 0}, "size": "byte"}, "size", "size 'byte' is none of"),
        ({"type": "enum", "members": {"mro": 0}}, "members", "members cannot be those of an enum"),
        ({"type": "enum", "members": 3}, "members", "members 3 is not a table"),
        ({"type": "enum", "members": {"A": 0}, "enum": ""}, "enum", "enum '' is not a text"),
        ({"type": ["word"]}, "type", r"type \['word'\] is none of"),
    ],
)
def test_problems_name_the_key(fields: dict[str, Any], key: str, message: str, tmp_path: Path) -> None:
    found = problems_of(tmp_path / "a.json", json.dumps({"size": 8, "variables": {"A": {"address": 0, **fields}}}))
    assert len(found) == 1
    assert re.match(rf"a\.json:1: variables\.A\.{key}: {message}", found[0]), found


def test_a_broken_file_makes_no_store(tmp_path: Path) -> None:
    made = []

    class Counted(MemoryStore, size=16):
        def __init__(self, *args: Any, **shape: Any) -> None:
            made.append(self)
            super().__init__(*args, **shape)

    (tmp_path / "a.toml").write_text(
        '[variables.A]\ntype = "word"\naddress = 1\n[variables.B]\ntype = "x"\naddress = 1'
    )
    with pytest.raises(MapError):
        Counted.load(tmp_path / "a.toml")
    assert made == []


MAPS = Path(__file__).parents[2] / "examples" / "maps"
SCRAPS = st.sampled_from(
    ["", " ", "\n", "0", "-1", "1e999", "nan", '"', "'", '"""', "[", "]", "{", "}", ",", ";", "=", "#", ":", ".", "\\",
     "null", "true", "name", "type", "word", "\r", "\0", "99999999999999999999"]
)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["sunspec_inverter.toml", "beckhoff_bk9050.json", "eastron_sdm630.csv", "huawei_sun2000_kepware.csv"]
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_a_map_error_with_a_place(name: str, tmp_path: Path, data: st.DataObject) -> None:
    text = (MAPS / name).read_text("utf-8")[:4000]
    if name.endswith(".json"):
        text = text[: text.rindex(",")] + "}}"
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(SCRAPS | st.text(max_size=3)) + text[end:]
    path = tmp_path / f"map{Path(name).suffix}"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        MemoryStore.load(path)
    except MapError as error:
        for problem in error.problems:
            assert problem.startswith(str(path))


def test_lines_are_found_in_any_toml() -> None:
    text = 'a.b = 1\n"c d" = [\n  1,\n  "]",\n]\n[[v]]\nx = 1\n[[v]]\n"x" = """\ny = 2\n"""\n'
    text += "[v.'t.u'] # [no]\nz = {q = 1}\n"
    lines = maptoml.find_lines(text)
    assert (lines[("a",)], lines[("a", "b")], lines[("c d",)]) == (1, 1, 2)
    assert (lines[("v", 0)], lines[("v", 0, "x")], lines[("v", 1)], lines[("v", 1, "x")]) == (6, 7, 8, 9)
    assert lines[("v", "t.u", "z")] == 13
    assert ("v", 1, "y") not in lines


def test_lines_are_found_in_any_json() -> None:
    lines, twice = mapjson.find_lines('{"a": [1,\n {"b": "}\\""},\n []],\n "c": {},\n "d\\u0041": null}')
    assert (lines[("a",)], lines[("a", 1)], lines[("a", 1, "b")], lines[("a", 2)]) == (1, 2, 2, 3)
    assert (lines[("c",)], lines[("dA",)], twice) == (4, 5, [])


# -- CSV


def test_csv_problems_have_line_and_column(tmp_path: Path) -> None:
    text = (
        '# from the manual, "page 3"\n#size,16\n#siz,3\n#size,8\n\nname,type,address,scale,command,members,label\n'
        'A,word,40003,"0,1",maybe,,"two\nlines"\nA,word,4x3,2,,,\nB,enum,00003,,,OFF=0;ON,\n'
        "C,enum,4x9,,,OFF=0;OFF=1,\nD,bool,4x9,,,,,9\nE,bool,4x9\n,word,3\n"
    )
    found = problems_of(tmp_path / "a.csv", text)
    expected = [
        r"a.csv:3: '#siz,3' is no setting; did you mean size\?; allowed are #address_base,.*",
        r"a.csv:4: #size stands here again",
        r"a.csv:7: A, column scale: scale '0,1' is not a number",
        r"a.csv:7: A, column command: command 'maybe' is not a bool",
        r"a.csv:9: A, column name: declared twice, first at a.csv:7: A",
        r"a.csv:10: B, column members: members has 'ON', which is not a name and a whole number like OFF=0",
        r"a.csv:10: B, column address: table 'coil': an enum lies in holding or input",
        r"a.csv:11: C, column members: members has 'OFF' twice",
        r"a.csv:12: 8 cells, the header has 7 columns",
        r"a.csv:13: E: bit_number is missing, a variable of type bool needs it",
        r"a.csv:14: , column name: '' is not a name for a variable",
    ]
    for said, pattern in zip(found, expected, strict=False):
        assert re.fullmatch(pattern, said, re.DOTALL), said
    assert len(found) == len(expected)


def test_csv_columns_that_are_not_known_or_missing(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "a.csv", "name,typ,label,label\nA,word,x,y\n") == [
        f"a.csv:1: unknown column 'typ'; did you mean type?; allowed are name, {', '.join(KEYS)}",
        "a.csv:1: column 'label' stands here twice",
        "a.csv:1: column 'type' is missing",
        "a.csv:1: column 'address' is missing",
    ]


def test_csv_every_key_has_a_column(tmp_path: Path) -> None:
    store = load(tmp_path / "a.csv", f"name,{','.join(KEYS)}\nA,word,3\n")
    assert store.variables()["A"].address == 3


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_separators_and_trailing_ones(separator: str, tmp_path: Path) -> None:
    text = "#size,16,,\n#word_order,big\nName,Type,Address,Scale,,\nA,word,2,0.5,,\n".replace(",", separator)
    store = load(tmp_path / "a.csv", text)
    assert (len(store), orders_of(store).word_order) == (16, "big")
    assert store.variables()["A"].keywords["scale"] == 0.5


def test_csv_members(tmp_path: Path) -> None:
    text = 'name,type,address,members\nA,enum,2," OFF=0; ON = 0x1 ;a\\;b\\=\\\\=2"\nB,flags,3,X=1;Y=2;XY=3\n'
    store = load(tmp_path / "a.csv", text)
    enum_type = store.variables()["A"].arguments["enum_type"]
    assert {name: member.value for name, member in enum_type.__members__.items()} == {"OFF": 0, "ON": 1, "a;b=\\": 2}
    store[3] = 3
    assert store.B == 3


# -- Kepware

KEPWARE = (
    "Tag Name,Address,Data Type,Respect Data Type,Client Access,Scan Rate,Scaling,Raw Low,Raw High,Scaled Low,"
    "Scaled High,Scaled Data Type,Clamp Low,Clamp High,Eng Units,Description,Negate Value\n"
)


@pytest.mark.parametrize(
    ("row", "declared"),
    [
        ('"T",400003,Word,1,R/W,100,,,,,,,,,"","",', {"type": "word", "address": 2, "period": 0.1}),
        ("T,400003,Short,1,RO,0,,,,,,,,,V,x",
         {"type": "int16", "address": 2, "access": "ro", "unit": "V", "label": "x"}),
        ("T,40003,DWord,1,WO", {"type": "uint32", "address": 2, "access": "wo"}),
        ("T,43,Long", {"type": "int32", "address": 2}),
        ("T,300001,Float", {"type": "float32", "address": 0, "table": "input"}),
        ("T,465533,Double", {"type": "float64", "address": 65532}),
        ("T,400001,BCD", {"type": "bcd16", "address": 0}),
        ("T,400001,LBCD", {"type": "bcd32", "address": 0}),
        ("T,400001,QWord", {"type": "uint64", "address": 0}),
        ("T,400001,LLong", {"type": "int64", "address": 0}),
        ("T,400001,Char", {"type": "int8", "address": 0, "byte_number": 0}),
        ("T,400001,Byte", {"type": "byte", "address": 0, "byte_number": 0}),
        ("T,400001,", {"type": "word", "address": 0}),
        ("T,400001.3,Boolean", {"type": "bool", "address": 0, "bit_number": 3}),
        ("T,300010.15,", {"type": "bool", "address": 9, "table": "input", "bit_number": 15}),
        ("T,000001,Boolean", {"type": "coil", "address": 0}),
        ("T,100001,Default", {"type": "discrete", "address": 0}),
        ("T,100001[16],Boolean Array", {"type": "discrete", "address": 0, "count": 16}),
        ("T,400001[4][2],Float Array", {"type": "float32", "address": 0, "count": 8}),
        ("T,400011.20H,String", {"type": "string", "address": 10, "length": 20}),
        ("T,400011.20L,String", {"type": "string", "address": 10, "length": 20, "byte_order": "little"}),
        ("T,H40001A,Word", {"type": "word", "address": 25}),
        ("T,400001,Word,1,RO,100,None,0,1", {"type": "word", "address": 0, "access": "ro", "period": 0.1}),
        ("T,400001,Word,1,RO,1000,Linear,0,1000,0,100,Double,0,0,bar,,0",
         {"type": "word", "address": 0, "scale": 0.1, "offset": 0, "unit": "bar", "access": "ro", "period": 1}),
        ("T,400001,Word,1,R/W,1000,Linear,0,4000,-50,150,Double,1,1,,,",
         {"type": "word", "address": 0, "scale": 0.05, "offset": -50, "min": -50, "max": 150, "period": 1}),
        ("T,400001,Word,1,R/W,1000,linear,4,20,0,32,Float,1,0,,,1",
         {"type": "word", "address": 0, "scale": -2, "offset": 8, "max": 0, "period": 1}),
    ],
)  # fmt: skip
def test_kepware_tags(row: str, declared: dict[str, Any], tmp_path: Path) -> None:
    store = load(tmp_path / "a.csv", KEPWARE + row + "\n")
    assert describe(store.variables()["T"]) == declared


def test_kepware_linear_scaling_is_that_of_kepware(tmp_path: Path) -> None:
    store = load(tmp_path / "a.csv", KEPWARE + "T,400001,Word,1,R/W,1000,Linear,6400,32000,-10,70,Double,0,0,,,\n")
    for raw in (0, 6400, 12345, 32000, 65535):
        store[0] = raw
        assert store["T"] == pytest.approx((70 - -10) / (32000 - 6400) * (raw - 6400) + -10)


def test_kepware_columns_may_be_few_and_separated_by_semicolons(tmp_path: Path) -> None:
    store = load(tmp_path / "a.csv", "#word_order,big\nTag Name;Address;Data Type;Eng. Units\nA.B;400001;Float;°C\n")
    assert describe(store.variables()["A.B"]) == {"type": "float32", "address": 0, "unit": "°C"}
    assert orders_of(store).word_order == "big"


@pytest.mark.parametrize(
    ("row", "problems"),
    [
        ("T,400003,Shrt", ["Data Type: 'Shrt' is none of Boolean, .*; did you mean Short.*"]),
        ("T,40000,Word", ["Address: address '40000': references count from 1 .*"]),
        ("T,DB1.DBW2,Word", ["Address: address 'DB1.DBW2' is not of the form 400003, .*"]),
        ("T,4000A,Word", ["Address: address '4000A' is not of the form .*"]),
        ("T,400001,Boolean", ["Address: address '400001' has no bit, as in 400003.5, the type is Boolean"]),
        ("T,400001.3,Word", ["Address: address '400001.3' names a bit, but the type is Word"]),
        ("T,400001.16,Boolean", ["Address: bit_number 16 is not a number from 0 to 15"]),
        ("T,400001,String", ["Address: address '400001' has no length of the text, as in 400003.20H.*"]),
        ("T,000001,Word", ["Data Type: 'Word': a coil is a Boolean"]),
        ("T,000001.1,Boolean", ["Address: address '000001.1' names a part of a coil, which has none"]),
        ("T,400001,Word Array", ["Address: address '400001' has no size of the array, .*"]),
        ("T,400001,Word,1,X,fast", ["Client Access: 'X' is none of RO, R/W, WO", "Scan Rate: 'fast' is not a number"]),
        ("T,400001,Word,1,,,Square Root", ["Scaling: 'Square Root' is neither None nor Linear, .*"]),
        ("T,400001,Word,1,,,Linear,0,x", ["Raw High: 'x' is not .*", "Scaled Low: is empty.*", "Scaled High: .*"]),
        ("T,400001,Word,1,,,Linear,5,5,0,1", ["Raw High: '5' is the same as Raw Low"]),
        ("T,400001,Word,1,,,Linear,0,5,1,1", ["Scaled High: '1' is the same as Scaled Low"]),
        ("T,400001,Word,1,,,Linear,0,5,0,1,,2,no,,,x", ["Clamp Low: '2' .*", "Clamp High: .*", "Negate Value: .*"]),
    ],
)  # fmt: skip
def test_kepware_problems_name_the_column(row: str, problems: list[str], tmp_path: Path) -> None:
    found = problems_of(tmp_path / "a.csv", KEPWARE + row + "\n")
    for said, pattern in zip(found, problems, strict=False):
        assert re.fullmatch(f"a.csv:2: T, column {pattern}", said), said
    assert len(found) == len(problems), found


# -- saving


@pytest.mark.parametrize("name", ["map.yaml", "map", "map.toml.bak"])
def test_unknown_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"a register map is a \.toml, \.json or \.csv file"):
        MemoryStore(4).save(tmp_path / name)
    with pytest.raises(DeclarationError, match=r"a register map is a \.toml, \.json or \.csv file"):
        MemoryStore.load(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_suffix_in_capitals_and_path_as_text(tmp_path: Path) -> None:
    MemoryStore(4).save(str(tmp_path / "MAP.TOML"))
    assert len(MemoryStore.load(str(tmp_path / "MAP.TOML"))) == 4


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MemoryStore.load(tmp_path / "map.toml")
    with pytest.raises(FileNotFoundError):
        MemoryStore(4).save(tmp_path / "nowhere" / "map.toml")


def test_saving_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map.toml"
    MemoryStore(4).save(path)
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        MemoryStore(8).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", FORMATS)
def test_half_of_a_character_cannot_be_saved(suffix: str, tmp_path: Path) -> None:
    store = MemoryStore(4)
    store["bad \ud800 name"] = MemoryVariable.word(0)
    with pytest.raises(DeclarationError, match=r"bad .* name.* has half of a character"):
        store.save(tmp_path / f"map.{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions and symbolic links are those of POSIX")
def test_saving_keeps_permissions_and_links(tmp_path: Path) -> None:
    path, link = tmp_path / "map.toml", tmp_path / "link.toml"
    MemoryStore(4).save(path)
    path.chmod(0o640)
    link.symlink_to(path)
    MemoryStore(8).save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(MemoryStore.load(path)) == 8


def test_a_large_map_loads_and_saves(tmp_path: Path) -> None:
    store = MemoryStore(65536)
    for number in range(2000):
        store[f"V{number}"] = MemoryVariable.float32(2 * number, label=f"Value {number}", unit="V", scale=0.1)
    for suffix in FORMATS:
        store.save(tmp_path / f"map.{suffix}")
        assert meaning(MemoryStore.load(tmp_path / f"map.{suffix}")) == meaning(store)
