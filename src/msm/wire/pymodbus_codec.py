"""The one place that knows pymodbus: PDUs of the function codes that do not move memory.

pymodbus' PDU classes are sound and well kept, so what is off the hot path is theirs. It is imported when it is
first needed: most programs never ask for these functions.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from msm.errors import ProtocolError, device_error

DEVICE_IDENTIFICATION = 0x2B
READ_DEVICE_IDENTIFICATION = 0x0E

BASIC, REGULAR, EXTENDED = 1, 2, 3  # the streams of application protocol V1.1b3, section 6.21


@dataclass(frozen=True, slots=True)
class Identification:
    """One reply of function 43/14: objects by their id, and where to go on when more follow."""

    objects: dict[int, bytes]
    next_object: int | None


def identification_request(stream: int, first_object: int) -> bytes:
    """Function 43/14: ask for the objects of a stream, from `first_object`."""
    from pymodbus.pdu.mei_message import ReadDeviceInformationRequest  # noqa: PLC0415

    request = ReadDeviceInformationRequest(read_code=stream, object_id=first_object)
    return bytes([request.function_code]) + request.encode()


def parse_identification(reply: bytes) -> Identification:
    """What a reply to function 43/14 says.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: it is not a reply to this function, or its sizes do not fit.
    """
    from pymodbus.pdu.mei_message import ReadDeviceInformationResponse  # noqa: PLC0415

    if reply[0] == DEVICE_IDENTIFICATION | 0x80 and len(reply) == 2:
        raise device_error(reply[1], "reading the device identification")
    if len(reply) < 7 or reply[0] != DEVICE_IDENTIFICATION or reply[1] != READ_DEVICE_IDENTIFICATION:
        raise ProtocolError(f"reading the device identification: answered with {reply.hex(' ')}")
    response = ReadDeviceInformationResponse()
    try:
        response.decode(reply[1:])
    except (struct.error, IndexError, ValueError) as error:
        raise ProtocolError(f"reading the device identification: {error}, in {reply.hex(' ')}") from error
    objects = {
        number: value if isinstance(value, bytes) else b"".join(value) for number, value in response.information.items()
    }
    return Identification(objects, response.next_object_id if response.more_follows else None)


def crc(data: bytes) -> bytes:
    """The two bytes that end an RTU frame (serial line V1.02, section 2.5.1.2)."""
    from pymodbus.framer.rtu import FramerRTU  # noqa: PLC0415

    return FramerRTU.compute_CRC(data).to_bytes(2, "big")


def lrc(data: bytes) -> int:
    """The byte that ends an ASCII frame (serial line V1.02, section 2.5.2.2)."""
    from pymodbus.framer.ascii import FramerAscii  # noqa: PLC0415

    return FramerAscii.compute_LRC(data)


def rtu_size(data: bytes, *, request: bool) -> int | None:
    """How many bytes the RTU frame that begins with `data` has, unit and CRC included; for functions off the hot path.

    :returns: 0 while `data` is too short to tell, None where no function of that code is known.
    """
    from pymodbus.exceptions import ModbusException  # noqa: PLC0415
    from pymodbus.pdu import DecodePDU  # noqa: PLC0415

    try:
        kind = DecodePDU(request).lookupPduClass(data)
        size = kind.calculateRtuFrameSize(data) if kind is not None else None
    except (IndexError, struct.error):
        return 0
    except ModbusException:
        return None
    # Some of its classes say "more than there is" by a number that no frame can have.
    return 0 if size is not None and size > MAX_RTU_FRAME else size


MAX_RTU_FRAME = 256  # serial line V1.02, section 2.5.1.1
