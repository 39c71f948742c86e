"""The register map of the press: what the panel and its tests know of it."""

from enum import IntEnum

from msm import MemoryStore, MemoryVariable


class State(IntEnum):
    """What the press is doing."""

    IDLE = 0
    STARTING = 1
    RUNNING = 2
    FAULT = 3


class Press(MemoryStore, size=16):
    """Sixteen words of a press."""

    state = MemoryVariable.enum(State, 0, access="ro")
    speed = MemoryVariable.float32(2, unit="rpm", access="ro")
    set_speed = MemoryVariable.float32(4, unit="rpm", min=0, max=100)
    command = MemoryVariable.word(6, command=True)
    pressure = MemoryVariable.uint16(8, unit="bar", scale=0.1, access="ro")


START, STOP = 1, 2
