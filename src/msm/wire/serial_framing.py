"""RTU and ASCII: how Modbus messages are told apart on a serial line (Modbus over serial line V1.02, section 2.5).

There are no transactions on a serial line: a reply belongs to the last request, so every frame has transaction 0.
"""

from __future__ import annotations

from msm.wire import pymodbus_codec
from msm.wire.framing import Frame

MAX_RTU_FRAME = 256  # section 2.5.1.1
MAX_ASCII_FRAME = 513  # section 2.5.2.1

# Sizes of whole frames, with unit and CRC, of the functions that move memory; or where their byte count stands.
_REQUEST_SIZES = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 22: 10}
_REQUEST_COUNTS = {15: 6, 16: 6, 23: 10}
_REPLY_SIZES = {5: 8, 6: 8, 15: 8, 16: 8, 22: 10}
_REPLY_COUNTS = {1: 2, 2: 2, 3: 2, 4: 2, 23: 2}
_EXCEPTION_SIZE = 5


def frame_size(data: bytes | bytearray, *, request: bool) -> int | None:
    """How many bytes the frame that begins with `data` has.

    :returns: 0 while there is too little to tell, None where no frame begins like that.
    """
    if len(data) < 2:
        return 0
    function = data[1]
    if not request and function & 0x80:
        return _EXCEPTION_SIZE
    sizes, counts = (_REQUEST_SIZES, _REQUEST_COUNTS) if request else (_REPLY_SIZES, _REPLY_COUNTS)
    if function in sizes:
        return sizes[function]
    if function in counts:
        at = counts[function]
        return at + data[at] + 3 if len(data) > at else 0
    return pymodbus_codec.rtu_size(bytes(data), request=request)


class RtuFramer:
    """Puts RTU frames together. What they are is decided by their size and their CRC.

    A server sees on a shared line also the replies of other devices, and a client only replies. What is neither is
    noise: it is left out byte by byte until a frame begins. `silence()` is to be called when the line has been
    quiet for 3.5 characters: then a frame that has begun will not go on.

    :param server: does this end hear requests?
    """

    def __init__(self, *, server: bool) -> None:
        self.error = ""
        self.noise = 0
        """Bytes that belonged to no frame."""
        self._server = server
        self._data = bytearray()

    @property
    def partial(self) -> bool:
        """Has a frame begun that is not yet whole?"""
        return bool(self._data)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        self._data += data
        return self._take(final=False)

    def silence(self) -> list[Frame]:
        """The line is quiet: the frames in what was received, though a longer one seemed to have begun."""
        frames = self._take(final=True)
        self.noise += len(self._data)
        self._data.clear()
        return frames

    def _take(self, *, final: bool) -> list[Frame]:
        frames: list[Frame] = []
        start = 0
        data = self._data
        while len(data) - start >= 2:
            size, frame = self._at(start, final=final)
            if size is None:
                break
            if frame is not None:
                frames.append(frame)
            elif size == 1:
                self.noise += 1
            start += size
        del data[:start]
        if len(data) > MAX_RTU_FRAME:
            self.noise += len(data) - MAX_RTU_FRAME
            del data[:-MAX_RTU_FRAME]
        return frames

    def _at(self, start: int, *, final: bool) -> tuple[int | None, Frame | None]:
        """What begins at `start`: its size (None: wait for more) and the frame, if it is one for us."""
        rest = self._data[start : start + MAX_RTU_FRAME]
        wait = False
        kinds = (True, False) if self._server else (False,)
        for request in kinds:
            size = frame_size(rest, request=request)
            if size is None or size > MAX_RTU_FRAME:
                continue
            if size == 0 or size > len(rest):
                # A server waits only for requests: of what other devices say it needs nothing.
                wait = wait or (not final and request is self._server)
                continue
            if pymodbus_codec.crc(bytes(rest[: size - 2])) == bytes(rest[size - 2 : size]):
                frame = Frame(0, rest[0], bytes(rest[1 : size - 2]))
                return size, frame if request is self._server else None
        if not wait and self._server and not final and start == 0 and self._unknown_request(rest):
            wait = True
        if final and start == 0 and len(rest) == len(self._data) and self._unknown_request(rest):
            # A function that nobody knows has no size: silence ends it, and its CRC says whether it was a frame.
            body = bytes(rest[:-2])
            if len(rest) >= 4 and pymodbus_codec.crc(body) == bytes(rest[-2:]):
                return len(rest), Frame(0, rest[0], body[1:])
        return (None, None) if wait else (1, None)

    def _unknown_request(self, rest: bytearray) -> bool:
        return self._server and frame_size(rest, request=True) is None

    @staticmethod
    def encode(_transaction: int, unit: int, pdu: bytes) -> bytes:
        """One message as it travels."""
        body = bytes((unit,)) + pdu
        return body + pymodbus_codec.crc(body)


class AsciiFramer:
    """Puts ASCII frames together: a colon, hexadecimal digits, an LRC, CR and LF (section 2.5.2)."""

    def __init__(self, *, server: bool = True) -> None:
        self.error = ""
        self.noise = 0
        """Bytes that belonged to no frame."""
        self._data = bytearray()

    @property
    def partial(self) -> bool:
        """Has a frame begun that is not yet whole?"""
        return bool(self._data)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        frames = []
        self._data += data
        while True:
            end = self._data.find(b"\r\n")
            if end < 0:
                break
            line = bytes(self._data[:end])
            del self._data[: end + 2]
            # A colon begins a frame anew, whatever came before it.
            start = line.rfind(b":")
            frame = self._frame(line[start + 1 :]) if start >= 0 else None
            if frame is None:
                self.noise += len(line)
            else:
                self.noise += start
                frames.append(frame)
        self._forget_noise()
        return frames

    def silence(self) -> list[Frame]:
        """A second without a character (section 2.5.2.1): a frame that has begun will not go on."""
        self.noise += len(self._data)
        self._data.clear()
        return []

    def _forget_noise(self) -> None:
        start = self._data.rfind(b":")
        left_out = len(self._data) if start < 0 else start
        if start < 0 and self._data.endswith(b"\r"):
            left_out -= 1
        if len(self._data) - left_out > MAX_ASCII_FRAME:
            left_out = len(self._data)
        self.noise += left_out
        del self._data[:left_out]

    @staticmethod
    def _frame(digits: bytes) -> Frame | None:
        try:
            body = bytes.fromhex(digits.decode("ascii"))
        except (UnicodeDecodeError, ValueError):
            return None
        if b" " in digits or not 3 <= len(body) <= 255 or pymodbus_codec.lrc(body[:-1]) != body[-1]:
            return None
        return Frame(0, body[0], body[1:-1])

    @staticmethod
    def encode(_transaction: int, unit: int, pdu: bytes) -> bytes:
        """One message as it travels."""
        body = bytes((unit,)) + pdu
        return b":" + (body + bytes((pymodbus_codec.lrc(body),))).hex().upper().encode() + b"\r\n"
