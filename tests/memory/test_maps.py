"""The maps under examples/maps, checked with raw words that the makers' documents show."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from msm import AccessError, MemoryStore, ValueRangeError
from msm.memory import mapjson, mapschema
from msm.memory.mapspec import KEYS
from msm.memory.store import image_of

ROOT = Path(__file__).parents[2]
MAPS = ROOT / "examples" / "maps"
SCHEMA = ROOT / "src" / "msm" / "memory" / "msm.schema.json"
FILES = sorted(path for path in MAPS.iterdir() if path.suffix in (".toml", ".json", ".csv"))


def put(store: MemoryStore, table: str, address: int, raw: str) -> None:
    """Lay words, written in hexadecimal as a manual shows them, into a table."""
    start = image_of(store).tables[table].offset + 2 * address
    data = bytes.fromhex(raw)
    image_of(store).buffer[start : start + len(data)] = data


def test_four_maps_are_there() -> None:
    assert {path.suffix for path in FILES} == {".toml", ".json", ".csv"}
    assert len(FILES) == 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_map_loads_and_every_variable_reads(path: Path) -> None:
    store = MemoryStore.load(path)
    assert store.variables()
    for name, variable in store.variables().items():
        assert variable.label, name
        store.info(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_example_is_valid_by_the_schema(path: Path, tmp_path: Path) -> None:
    if path.suffix == ".toml":
        import tomllib

        data = tomllib.loads(path.read_text("utf-8"))
    elif path.suffix == ".json":
        data = json.loads(path.read_text("utf-8"))
    else:
        MemoryStore.load(path).save(tmp_path / "map.json")
        data = json.loads((tmp_path / "map.json").read_text("utf-8"))
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(data)


def test_schema_is_in_step_with_the_code() -> None:
    remedy = "write msm.memory.mapschema.schema_text() to src/msm/memory/msm.schema.json"
    assert SCHEMA.read_text("utf-8") == mapschema.schema_text(), remedy
    jsonschema.Draft7Validator.check_schema(mapschema.schema())
    assert set(KEYS) <= set(mapschema.schema()["definitions"])


@pytest.mark.parametrize(
    "variable",
    [
        {"type": "word"},
        {"type": "wrd", "address": 0},
        {"type": "word", "address": 0, "bit_number": 3},
        {"type": "word", "address": 0, "acces": "ro"},
        {"type": "word", "address": 0, "access": "r"},
        {"type": "string", "address": 0},
        {"type": "enum", "address": 0, "members": {"ON": "1"}},
        {"type": "word", "address": 0, "scale": 0},
        {"type": "coil", "address": 0, "period": 0},
    ],
)
def test_schema_refuses_what_load_refuses(variable: dict[str, Any], tmp_path: Path) -> None:
    data = {"coils": 1, "size": 8, "variables": {"A": variable}}
    assert not jsonschema.Draft7Validator(mapschema.schema()).is_valid(data)
    (tmp_path / "map.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"map\.json"):
        MemoryStore.load(tmp_path / "map.json")
    assert mapjson.read("map.json", json.dumps(data)).entries


# -- Eastron SDM630


def test_sdm630_voltage_of_the_manual() -> None:
    # The answer to "read 30001" in Eastron's manuals: 01 04 04 43 66 33 34 1B 38, which is 230.2 V.
    meter = MemoryStore.load(MAPS / "eastron_sdm630.csv")
    put(meter, "input", 0, "4366 3334")
    assert meter.L1_voltage == pytest.approx(230.2, rel=1e-6)
    assert meter.info("L1_voltage").unit == "V"
    with pytest.raises(AccessError):
        meter.L1_voltage = 1.0


def test_sdm630_settings_of_the_manual() -> None:
    # The answer to "read 40013": 01 03 04 42 C8 00 00 6F B5, which is 100.
    meter = MemoryStore.load(MAPS / "eastron_sdm630.csv")
    put(meter, "holding", 0x0C, "42C8 0000")
    assert meter.pulse_width == 100.0
    meter.node = 1.0  # 3F 80 00 00, as in the manual's example of a write
    assert meter[0x14:0x16] == [0x3F80, 0x0000]
    with pytest.raises(ValueRangeError):
        meter.node = 248.0


@pytest.mark.parametrize(
    ("name", "address"),
    [("L1_voltage", 0x00), ("L3_power", 0x10), ("power", 0x34), ("frequency", 0x46), ("energy_import", 0x48),
     ("L1_L2_voltage", 0xC8), ("neutral_current", 0xE0), ("energy", 0x156), ("L3_energy", 0x16A)],
)  # fmt: skip
def test_sdm630_start_addresses_of_the_manual(name: str, address: int) -> None:
    meter = MemoryStore.load(MAPS / "eastron_sdm630.csv")
    put(meter, "input", address, struct.pack(">f", 42.5).hex())
    assert meter[name] == 42.5


# -- Beckhoff BK9050


def test_bk9050_process_image_of_the_manual() -> None:
    # Function 23 in Beckhoff's manual: writes 0x3FFF and 0x7FFF to 0x0800, and reads 0x0038 and 0x3F0B from 0.
    coupler = MemoryStore.load(MAPS / "beckhoff_bk9050.json")
    put(coupler, "holding", 0, "0038 3F0B")
    assert coupler["AI1"] == pytest.approx(0.0171, abs=1e-4)
    assert coupler["AI2"] == pytest.approx(4.9254, abs=1e-4)
    coupler.AO1 = 5.0
    coupler.AO2 = 10.0
    assert coupler[0x0800:0x0802] == [0x4000, 0x7FFF]
    coupler[0x0800] = 0x3FFF
    assert coupler["AO1"] == pytest.approx(5.0, abs=2e-4)
    with pytest.raises(ValueRangeError):
        coupler.AO1 = 10.1


def test_bk9050_registers_of_the_manual() -> None:
    coupler = MemoryStore.load(MAPS / "beckhoff_bk9050.json")
    put(coupler, "holding", 0x100C, "0003")
    put(coupler, "holding", 0x1120, "03E8 0000 0001 0000")
    put(coupler, "holding", 0x1010, "0020 0020 0008 0008")
    assert coupler.watchdog_time == 1000  # ms, as delivered
    assert coupler.watchdog_type.name == "ANY_TELEGRAM"
    assert coupler.mode.name == "NORMAL"
    assert coupler.status == 3
    assert coupler.status.name == "KBUS_ERROR|CONFIGURATION_ERROR"
    assert (coupler.analog_output_bits, coupler.digital_input_bits) == (32, 8)
    coupler.watchdog_reset = 0xBECF
    assert coupler[0x1121] == 0xBECF
    assert coupler.variables()["watchdog_reset"].keywords["command"] is True


def test_bk9050_digital_channels() -> None:
    coupler = MemoryStore.load(MAPS / "beckhoff_bk9050.json")
    coupler.DO3 = True
    assert [coupler.get_value(bit, "coil") for bit in range(8)] == [0, 0, 1, 0, 0, 0, 0, 0]
    coupler.set_value(7, 1, "discrete")
    assert coupler.DI8 is True
    assert coupler.DI1 is False


# -- Huawei SUN2000


@pytest.mark.parametrize(
    ("name", "address", "raw", "value"),
    [
        # The gains of the interface definitions: the raw number divided by the gain is the value.
        ("Grid.ActivePower", 32080, "0000 1F40", 8.0),
        ("Grid.ReactivePower", 32082, "FFFF FF38", -0.2),
        ("Grid.PowerFactor", 32084, "FC18", -1.0),
        ("Grid.Frequency", 32085, "138A", 50.02),
        ("State.Efficiency", 32086, "264C", 98.04),
        ("State.Temperature", 32087, "FFF1", -1.5),
        ("State.Device", 32089, "0200", 512),
        ("PV1.Voltage", 32016, "1770", 600.0),
        ("Energy.Total", 32106, "0001 86A0", 1000.0),
        ("Info.Model", 30000, "53554E32303030", "SUN2000"),
    ],
)
def test_sun2000_gains(name: str, address: int, raw: str, value: object) -> None:
    inverter = MemoryStore.load(MAPS / "huawei_sun2000_kepware.csv")
    put(inverter, "holding", address, raw)
    assert inverter[name] == value


def test_sun2000_derating_is_clamped() -> None:
    inverter = MemoryStore.load(MAPS / "huawei_sun2000_kepware.csv")
    inverter["Control.ActivePowerDerating"] = 60.0
    assert inverter[40125] == 600
    with pytest.raises(ValueRangeError):
        inverter["Control.ActivePowerDerating"] = 100.1
    assert inverter.variables()["Grid.Frequency"].keywords["period"] == 1
    with pytest.raises(AccessError):
        inverter["Grid.Frequency"] = 50.0


# -- SunSpec


def test_sunspec_values_with_scale_factors() -> None:
    inverter = MemoryStore.load(MAPS / "sunspec_inverter.toml")
    # "SunS", model 1, 66 words, and a manufacturer, as the SunSpec Alliance's own tests show them on the wire.
    put(inverter, "holding", 40000, "53756E53 0001 0042" + b"SunSpecTest".hex())
    put(inverter, "holding", 40070, "0067 0032")
    put(inverter, "holding", 40070 + 14, "0C80 0001 1387 FFFE")  # W, W_SF, Hz, Hz_SF
    put(inverter, "holding", 40070 + 38, "0004 FFFF 0000 0088")  # St, StVnd, Evt1
    assert inverter.SunS == "SunS"
    assert (inverter.common_ID, inverter.common_L) == (1, 66)
    assert inverter.Mn == "SunSpecTest"
    assert (inverter.inverter_ID, inverter.inverter_L) == (103, 50)
    assert inverter.W * 10**inverter.W_SF == 32000
    assert inverter.Hz * 10**inverter.Hz_SF == pytest.approx(49.99)
    assert inverter.St.name == "MPPT"
    assert inverter.StVnd is None
    assert inverter.Evt1.name == "DC_DISCONNECT|OVER_TEMP"


def test_sunspec_map_is_as_the_alliance_publishes_the_models() -> None:
    from sunspec2 import device  # type: ignore[import-untyped]

    inverter = MemoryStore.load(MAPS / "sunspec_inverter.toml")
    variables = inverter.variables()
    for model, start in ((1, 40002), (103, 40070)):
        offset = start
        for point in device.get_model_def(model)["group"]["points"]:
            if point["name"] not in ("ID", "L", "Pad"):
                variable = variables[point["name"]]
                assert variable.address == offset, point["name"]
                assert len(inverter.info(point["name"]).words) == point["size"], point["name"]
                assert variable.unit == {"C": "°C", "Pct": "%"}.get(point.get("units", ""), point.get("units", ""))
                for symbol in point.get("symbols", ()):
                    number = 1 << symbol["value"] if point["type"].startswith("bitfield") else symbol["value"]
                    assert variable.arguments["enum_type"][symbol["name"]] == number
            offset += point["size"]
