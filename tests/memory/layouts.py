"""The maps whose pictures were looked at: of 8, 200 and 5000 words. Run as a module, it draws those of the docs."""

from __future__ import annotations

import enum
from pathlib import Path

from msm import MemoryStore, MemoryVariable

PICTURES = Path(__file__).parents[2] / "docs" / "_static"


class State(enum.IntEnum):
    IDLE = 0
    RUN = 1
    FAULT = 2


def quickstart() -> MemoryStore:
    """The eight words of the quickstart."""
    mem = MemoryStore(8)
    mem.WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    mem.CONTROL_WORD = MemoryVariable.word(address=3)
    mem.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)
    return mem


def press() -> MemoryStore:
    """A machine of 200 words: a bit of everything, and an overlap."""
    mem = MemoryStore(200, input_registers=16, coils=20, discrete_inputs=8)
    mem.state = MemoryVariable.enum(State, 0, access="ro", label="What the press is doing")
    mem.status = MemoryVariable.word(1, access="ro")
    for bit, name in enumerate(("ready", "running", "fault", "door_open", "estop", "oil_low")):
        mem[name] = MemoryVariable.bool(1, bit, access="ro")
    mem.mode = MemoryVariable.bits(2, 0, 3)
    mem.enable = MemoryVariable.bool(2, 8)
    mem.reset = MemoryVariable.bool(2, 9, command=True)
    mem.speed = MemoryVariable.float32(4, unit="rpm")
    mem.torque = MemoryVariable.float32(6, unit="Nm", access="ro")
    mem.position = MemoryVariable.int32(8, unit="mm", scale=0.001, access="ro")
    mem.total = MemoryVariable.uint64(10, access="ro")
    mem.energy = MemoryVariable.float64(14, unit="kWh", access="ro", word_order="big")
    mem.serial_number = MemoryVariable.string(20, 16, access="ro")
    mem.firmware = MemoryVariable.string(28, 7, access="ro")
    mem.clock = MemoryVariable.datetime(32, "words")
    mem.temperatures = MemoryVariable.int16(40, count=10, scale=0.1, unit="°C", access="ro")
    mem.limit_low = MemoryVariable.uint32(52)
    mem.limit_high = MemoryVariable.uint32(53)
    for axis in range(12):
        first = 64 + 6 * axis
        mem[f"axis{axis}_position"] = MemoryVariable.float32(first, unit="mm", access="ro")
        mem[f"axis{axis}_target"] = MemoryVariable.float32(first + 2, unit="mm")
        mem[f"axis{axis}_status"] = MemoryVariable.word(first + 4, access="ro")
    mem.samples = MemoryVariable.word(150, count=40, access="ro")
    mem.watchdog = MemoryVariable.word(199, access="wo", heartbeat=1.0)
    mem.mains_voltage = MemoryVariable.float32(0, table="input", unit="V")
    mem.mains_current = MemoryVariable.float32(2, table="input", unit="A")
    mem.mains_frequency = MemoryVariable.uint16(4, table="input", scale=0.01, unit="Hz")
    mem.PUMP = MemoryVariable.coil(0)
    mem.VALVE_1 = MemoryVariable.coil(1)
    mem.VALVE_2 = MemoryVariable.coil(2)
    mem.lamps = MemoryVariable.coil(8, count=8)
    mem.guard_closed = MemoryVariable.discrete(0)
    mem.air_ok = MemoryVariable.discrete(1)
    return mem


def plant() -> MemoryStore:
    """A plant of 5000 words and 1000 variables: irregular tanks, then drives that are all laid out alike."""
    mem = MemoryStore(5000)
    address = 0
    for tank in range(153):
        mem[f"tank{tank}_level"] = MemoryVariable.float32(address, access="ro", unit="m")
        mem[f"tank{tank}_alarm_high"] = MemoryVariable.bool(address + 2, 0, access="ro")
        mem[f"tank{tank}_alarm_low"] = MemoryVariable.bool(address + 2, 1, access="ro")
        mem[f"tank{tank}_volume"] = MemoryVariable.uint64(address + 3, access="ro", unit="l")
        address += 7 + tank % 5
    address = 2000
    for drive in range(129):
        mem[f"drive{drive}_speed"] = MemoryVariable.int16(address, unit="rpm")
        mem[f"drive{drive}_current"] = MemoryVariable.float32(address + 2, access="ro", unit="A")
        mem[f"drive{drive}_run"] = MemoryVariable.bool(address + 4, 0)
        address += 12
    mem.history = MemoryVariable.word(4000, count=500, access="ro")
    return mem


PICTURED = {"layout-8.svg": quickstart, "layout-200.svg": press}


if __name__ == "__main__":
    for name, make in PICTURED.items():
        (PICTURES / name).write_text(make().layout().svg(), encoding="utf-8")
