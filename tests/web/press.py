"""The device that the tests of the page look at."""

from __future__ import annotations

import enum

from msm import IllegalValueError, MemoryStore, MemoryVariable
from msm.keywords import RemoteWrite

LOCKED = 21


class Mode(enum.Enum):
    OFF = 0
    MANUAL = 1
    AUTOMATIC = 2


class Alarms(enum.Flag):
    HOT = 1
    DOOR = 2
    OIL = 4
    BELT = 8


class Press(MemoryStore, size=24, coils=8):
    temperature = MemoryVariable.float32(0, unit="°C", access="ro", label="Oil temperature")
    pressure = MemoryVariable.uint16(2, scale=0.01, unit="bar", access="ro", label="Hydraulic pressure")
    speed = MemoryVariable.float32(4, unit="rpm", access="ro", label="Spindle speed")
    setpoint = MemoryVariable.int16(6, unit="rpm", min=0, max=3000, label="Speed that is wanted")
    mode = MemoryVariable.enum(Mode, 7, label="What it does")
    alarms = MemoryVariable.flags(Alarms, 8, label="Alarms, set by hand for tests")
    pump = MemoryVariable.bool(9, 0, label="Cooling pump")
    door = MemoryVariable.bool(9, 1, access="ro", label="The door is closed")
    lamp = MemoryVariable.coil(3, label="The lamp on the panel")
    pieces = MemoryVariable.uint32(10, access="ro", label="Pieces made")
    recipe = MemoryVariable.string(12, 12, label="Name of the recipe")
    limits = MemoryVariable.int16(18, count=3, unit="mm", label="Lower, middle and upper limit")
    locked = MemoryVariable.uint16(LOCKED, label="A word that the device keeps for itself")


def keep_locked(write: RemoteWrite) -> None:
    """What the device says to a write: one word is not for its clients."""
    if write.table == "holding" and write.address <= LOCKED < write.address + len(write.values):
        raise IllegalValueError
