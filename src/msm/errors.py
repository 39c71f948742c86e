"""Everything that MSM raises.

One tree; each class is also the built-in exception that a Python programmer would expect to catch::

    MsmError
    ├── DeclarationError (ValueError)            a variable, store, endpoint or keyword that cannot be
    │   ├── AddressError (IndexError)            a raw address outside the memory
    │   └── MapError                             a register map that cannot be read; it lists all that is wrong
    ├── ValueRangeError (ValueError)             a value that does not fit its variable
    ├── ValueTypeError (TypeError)               a value of the wrong type
    ├── UnknownVariableError (AttributeError, KeyError)   a name that was never declared
    ├── AccessError (AttributeError)             an assignment to what only the device writes
    ├── LinkError (OSError)                      the way to the other end
    │   ├── BindError                            a server cannot listen there
    │   ├── ConnectError                         nobody there, or nobody who answers
    │   ├── LinkTimeoutError (TimeoutError)      the time was up first
    │   └── ProtocolError                        bytes that are not Modbus, or not an answer to the request
    ├── DeviceError                              the device answered with an exception code
    │   ├── IllegalFunctionError       01        ├── NegativeAcknowledgeError  07
    │   ├── IllegalAddressError        02        ├── MemoryParityError         08
    │   ├── IllegalValueError          03        ├── GatewayPathError          0A
    │   ├── DeviceFailureError         04        └── GatewayTargetError        0B
    │   ├── AcknowledgeError           05
    │   └── DeviceBusyError            06
    ├── WriteError                               some assignments were refused; it lists them
    ├── StaleError                               a value too old to be given
    └── StateError (RuntimeError)                the right call at the wrong time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

__all__ = [
    "MsmError",
    "DeclarationError", "AddressError", "MapError", "ValueRangeError", "ValueTypeError",
    "UnknownVariableError", "AccessError",
    "LinkError", "BindError", "ConnectError", "LinkTimeoutError", "ProtocolError",
    "DeviceError", "IllegalFunctionError", "IllegalAddressError", "IllegalValueError", "DeviceFailureError",
    "AcknowledgeError", "DeviceBusyError", "NegativeAcknowledgeError", "MemoryParityError",
    "GatewayPathError", "GatewayTargetError", "device_error",
    "WriteError", "StaleError", "StateError",
]  # fmt: skip


class MsmError(Exception):
    """The root: `except MsmError` catches all that MSM raises, and nothing else."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument and OSError may show an errno; a message is a message.
        return str(self.args[0]) if self.args else ""


class DeclarationError(MsmError, ValueError):
    """A variable, a store, an endpoint or a keyword that cannot be as it was written."""


class AddressError(DeclarationError, IndexError):
    """A raw address outside the memory."""


class MapError(DeclarationError):
    """A register map that cannot be read. `problems` lists all that is wrong with it, each with its place."""

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ValueRangeError(MsmError, ValueError):
    """A value that does not fit its variable. The memory is unchanged."""


class ValueTypeError(MsmError, TypeError):
    """A value of the wrong type for its variable. The memory is unchanged."""


class UnknownVariableError(MsmError, AttributeError, KeyError):
    """A name that was never declared on this store."""


class AccessError(MsmError, AttributeError):
    """An assignment to a variable that only the device writes (`access="ro"`). The memory is unchanged."""


class LinkError(MsmError, OSError):
    """The way to the other end: listening, connecting, waiting, understanding."""


class BindError(LinkError):
    """The server cannot listen at its endpoint."""


class ConnectError(LinkError):
    """The client found nobody at its endpoint, or nobody who answers."""


class LinkTimeoutError(LinkError, TimeoutError):
    """The time given ran out before what was waited for."""


class ProtocolError(LinkError):
    """Bytes that are not Modbus, or a reply that does not answer the request."""


class DeviceError(MsmError):
    """The device answered with an exception code (application protocol V1.1b3, section 7)."""

    code: int = 0
    meaning: ClassVar[str] = "an exception code that the specification does not know"

    def __init__(self, message: str | None = None, *, code: int | None = None) -> None:
        if code is not None:
            self.code = code
        super().__init__(message or f"exception {self.code:02X}: {self.meaning}")


class IllegalFunctionError(DeviceError):
    """Exception 01: the device does not have this function."""

    code = 1
    meaning = "illegal function: the device does not have it"


class IllegalAddressError(DeviceError):
    """Exception 02: an address that the device does not have."""

    code = 2
    meaning = "illegal data address: the device does not have it"


class IllegalValueError(DeviceError):
    """Exception 03: a value or a quantity that the device does not take."""

    code = 3
    meaning = "illegal data value: the device does not take it"


class DeviceFailureError(DeviceError):
    """Exception 04: the device failed while it performed the request."""

    code = 4
    meaning = "device failure while it performed the request"


class AcknowledgeError(DeviceError):
    """Exception 05: the device accepted the request and needs a long time for it."""

    code = 5
    meaning = "acknowledge: accepted, but it takes long"


class DeviceBusyError(DeviceError):
    """Exception 06: the device is busy; ask again later."""

    code = 6
    meaning = "device busy: ask again later"


class NegativeAcknowledgeError(DeviceError):
    """Exception 07: the device cannot perform the program function (earlier specifications)."""

    code = 7
    meaning = "negative acknowledge"


class MemoryParityError(DeviceError):
    """Exception 08: the device found a parity error in its extended memory."""

    code = 8
    meaning = "memory parity error in the device"


class GatewayPathError(DeviceError):
    """Exception 0A: the gateway has no path to this unit."""

    code = 10
    meaning = "gateway path unavailable"


class GatewayTargetError(DeviceError):
    """Exception 0B: no such unit behind the gateway, or it does not answer."""

    code = 11
    meaning = "gateway target device failed to respond: no such unit?"


_BY_CODE: dict[int, type[DeviceError]] = {
    cls.code: cls
    for cls in (
        IllegalFunctionError, IllegalAddressError, IllegalValueError, DeviceFailureError, AcknowledgeError,
        DeviceBusyError, NegativeAcknowledgeError, MemoryParityError, GatewayPathError, GatewayTargetError,
    )
}  # fmt: skip


def device_error(code: int, asked: str = "") -> DeviceError:
    """The `DeviceError` for an exception code; `asked` says what the request was."""
    cls = _BY_CODE.get(code, DeviceError)
    message = f"exception {code:02X}: {cls.meaning}"
    return cls(f"{asked}: {message}" if asked else message, code=code)


class WriteError(MsmError):
    """Some assignments did not arrive. `failures` lists them as (name, cause) pairs, oldest first."""

    def __init__(self, failures: Sequence[tuple[str, str]]) -> None:
        self.failures = tuple(failures)
        listed = "; ".join(f"{name}: {cause}" for name, cause in self.failures[:10])
        more = len(self.failures) - 10
        if more > 0:
            listed += f"; and {more} more"
        super().__init__(f"{len(self.failures)} assignment(s) did not arrive: {listed}")


class StaleError(MsmError):
    """The value is older than its reader accepts (`on_stale="raise"`)."""


class StateError(MsmError, RuntimeError):
    """The right call at the wrong time: `run()` after `kill()`, `flush()` before `run()`."""
