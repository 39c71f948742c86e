"""What may be fed with anything at all: each target takes bytes, and fails where a rule is broken.

hypothesis feeds them in `test_fuzz.py`, the kept corpus in `test_corpus.py`, and atheris for as long as one likes:

    nox -s fuzz -- server -max_total_time=3600
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from msm import DeclarationError, DeviceError, MsmError, ProtocolError
from msm.wire import certificate, other_pdu, pdu, pymodbus_codec
from msm.wire.endpoint import Endpoint
from msm.wire.framing import BUFFER, MbapFramer
from msm.wire.serial_framing import MAX_ASCII_FRAME, MAX_RTU_FRAME, AsciiFramer, RtuFramer
from tests.test_fuzz import FRAMERS, check_server, held

Framer = MbapFramer | RtuFramer | AsciiFramer
MOST = {MbapFramer: BUFFER, RtuFramer: 2 * MAX_RTU_FRAME, AsciiFramer: MAX_ASCII_FRAME}


def framing(make: Callable[[], Framer], data: bytes) -> None:
    """Whole = byte at a time = cut anywhere; what is remembered is bounded."""
    whole, single, cut = make(), make(), make()
    frames = whole.feed(data)
    assert [frame for at in range(len(data)) for frame in single.feed(data[at : at + 1])] == frames
    middle = sum(data[:4]) % (len(data) + 1)
    assert cut.feed(data[:middle]) + cut.feed(data[middle:]) == frames
    for framer in (whole, single, cut):
        assert framer.error == whole.error
        assert held(framer) <= MOST[type(framer)]
    if not isinstance(whole, MbapFramer):
        assert isinstance(single, RtuFramer | AsciiFramer)
        assert whole.silence() == single.silence()
        assert (whole.noise, whole.heard, held(whole)) == (single.noise, single.heard, 0)


def reply(data: bytes) -> None:
    """What a device sends: it is an answer, or refused by one of two errors."""
    if not data:
        return
    asked = other_pdu.FileRead(1, 0, data[0] % 121 + 1)
    request = pymodbus_codec.file_write_request([other_pdu.FileWrite(1, 0, b"\0\1")])
    readers: list[Callable[[], object]] = [
        *(lambda ask=ask: pdu.check_reply(ask, data) for ask in REQUESTS),
        lambda: pymodbus_codec.parse_identification(data, 1),
        lambda: other_pdu.parse_exception_status(data),
        lambda: other_pdu.parse_diagnostic_reply(0, data),
        lambda: other_pdu.parse_event_counter(data),
        lambda: other_pdu.parse_event_log(data),
        lambda: other_pdu.parse_server_id(data),
        lambda: other_pdu.parse_file_read_reply([asked], data),
        lambda: other_pdu.check_file_write_reply(request, data),
        lambda: other_pdu.parse_fifo_reply(data),
    ]
    for read in readers:
        try:
            read()
        except (DeviceError, ProtocolError) as refused:
            assert str(refused)


REQUESTS = (
    pdu.read(1, 0, 10),
    pdu.read(2, 0, 2000),
    pdu.read(3, 0, 1),
    pdu.read(4, 5, 125),
    pdu.write_coil(0, b"\1"),
    pdu.write_word(0, b"\0\1"),
    pdu.write_coils(0, 3, b"\5"),
    pdu.write_words(0, b"\0\1\0\2"),
    pdu.mask_write(0, 1, 1),
    pdu.read_write(0, 2, 0, b"\0\1"),
)


def endpoint(data: bytes) -> None:
    """What a user writes: it is an endpoint that reads back as itself, or refused with a right one."""
    try:
        found = Endpoint.parse(data.decode("utf-8", "replace"))
    except DeclarationError as refused:
        assert "a right one is" in str(refused)
        return
    assert str(Endpoint.parse(str(found))) == str(found)


def role(data: bytes) -> None:
    """A certificate, or its role alone: text, or a ValueError."""
    for read in (certificate.role_of, certificate._utf8_string):
        try:
            assert isinstance(read(data), str | None)
        except ValueError as refused:
            assert not isinstance(refused, MsmError | ssl.SSLError)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "mbap": lambda data: framing(FRAMERS["MBAP"][0], data),
    "rtu_server": lambda data: framing(FRAMERS["RTU, server"][0], data),
    "rtu_client": lambda data: framing(FRAMERS["RTU, client"][0], data),
    "ascii": lambda data: framing(FRAMERS["ASCII"][0], data),
    "server": check_server,
    "reply": reply,
    "endpoint": endpoint,
    "role": role,
}
