"""Modbus Shared Memory: declare a block of memory, and read and write plain attributes.

The memory is exchanged over Modbus in the background. What is named here is promised; nothing else is.
"""

import importlib
import logging

TYPE_CHECKING = False  # as of `typing`, without importing it

if TYPE_CHECKING:
    # What is declared
    from msm.memory.store import MemoryStore
    from msm.memory.changes import Change, ChangeStream, Watch
    from msm.memory.named import UnknownEnumValue
    from msm.memory.variable import MemoryVariable
    from msm.memory.view import Info, Snapshot
    from msm.memory.layout import Finding, Layout

    # What runs, in a thread of its own
    from msm.sync import ModbusClient, ModbusServer

    # The same, for async applications
    from msm.client import AsyncModbusClient
    from msm.server import AsyncModbusServer

    # What the application is asked before a remote write
    from msm.keywords import RemoteWrite

    # What a server answers beside its memory, and to whom
    from msm.functions import Functions
    from msm.roles import READS, WRITES, Allow

    # What devices say of themselves
    from msm.wire.other_pdu import EventLog, ServerId

    # What a trace is told
    from msm.wire.framing import Message

    # Under their earlier names
    from msm.sync import ModbusMasterTCP, ModbusSlaveTCP

    # What they tell
    from msm.exchange.stats import Stats
    from msm.exchange.ledger import Ledger, Totals
    from msm.exchange.conflict import Conflict
    from msm.exchange.schedule import LinkState, backoff

    # What they raise
    from msm.errors import (
        AccessError,
        AcknowledgeError,
        AddressError,
        BindError,
        ConnectError,
        DeclarationError,
        DeviceBusyError,
        DeviceError,
        DeviceFailureError,
        GatewayPathError,
        GatewayTargetError,
        IllegalAddressError,
        IllegalFunctionError,
        IllegalValueError,
        LinkError,
        LinkTimeoutError,
        MapError,
        MemoryParityError,
        MsmError,
        NegativeAcknowledgeError,
        ProtocolError,
        StaleError,
        StateError,
        UnknownVariableError,
        ValueRangeError,
        ValueTypeError,
        WriteError,
    )

__all__ = [
    "MemoryStore", "MemoryVariable", "UnknownEnumValue",
    "Change", "ChangeStream", "Finding", "Info", "Layout", "Snapshot", "Watch",
    "ModbusClient", "ModbusServer",
    "AsyncModbusClient", "AsyncModbusServer",
    "RemoteWrite", "Functions", "Allow", "READS", "WRITES", "EventLog", "ServerId", "Message",
    "ModbusMasterTCP", "ModbusSlaveTCP",
    "Conflict", "Ledger", "LinkState", "Stats", "Totals", "backoff",
    "MsmError",
    "DeclarationError", "AddressError", "MapError", "ValueRangeError", "ValueTypeError",
    "UnknownVariableError", "AccessError",
    "LinkError", "BindError", "ConnectError", "LinkTimeoutError", "ProtocolError",
    "DeviceError", "IllegalFunctionError", "IllegalAddressError", "IllegalValueError", "DeviceFailureError",
    "AcknowledgeError", "DeviceBusyError", "NegativeAcknowledgeError", "MemoryParityError",
    "GatewayPathError", "GatewayTargetError",
    "WriteError", "StaleError", "StateError",
]  # fmt: skip

# What is named above is loaded when it is first asked for: who declares a memory waits for no event loop.
_NAMES = {
    "msm.memory.store": ("MemoryStore",),
    "msm.memory.changes": ("Change", "ChangeStream", "Watch",),
    "msm.memory.named": ("UnknownEnumValue",),
    "msm.memory.variable": ("MemoryVariable",),
    "msm.memory.view": ("Info", "Snapshot",),
    "msm.memory.layout": ("Finding", "Layout",),
    "msm.sync": ("ModbusClient", "ModbusServer", "ModbusMasterTCP", "ModbusSlaveTCP",),
    "msm.client": ("AsyncModbusClient",),
    "msm.server": ("AsyncModbusServer",),
    "msm.keywords": ("RemoteWrite",),
    "msm.functions": ("Functions",),
    "msm.roles": ("READS", "WRITES", "Allow",),
    "msm.wire.other_pdu": ("EventLog", "ServerId",),
    "msm.wire.framing": ("Message",),
    "msm.exchange.stats": ("Stats",),
    "msm.exchange.ledger": ("Ledger", "Totals",),
    "msm.exchange.conflict": ("Conflict",),
    "msm.exchange.schedule": ("LinkState", "backoff",),
    "msm.errors": (
        "AccessError", "AcknowledgeError", "AddressError", "BindError", "ConnectError", "DeclarationError",
        "DeviceBusyError", "DeviceError", "DeviceFailureError", "GatewayPathError", "GatewayTargetError",
        "IllegalAddressError", "IllegalFunctionError", "IllegalValueError", "LinkError", "LinkTimeoutError",
        "MapError", "MemoryParityError", "MsmError", "NegativeAcknowledgeError", "ProtocolError", "StaleError",
        "StateError", "UnknownVariableError", "ValueRangeError", "ValueTypeError", "WriteError",
    ),
}  # fmt: skip
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# A library is silent until the application configures logging.
logging.getLogger("msm").addHandler(logging.NullHandler())

__version__ = "0.1.0"
