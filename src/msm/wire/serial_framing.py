"""RTU and ASCII: how Modbus messages are told apart on a serial line (Modbus over serial line V1.02, section 2.5).

There are no transactions on a serial line: a reply belongs to the last request, so every frame has transaction 0.
"""

from __future__ import annotations

import math

from msm.wire.framing import Frame
from msm.wire.other_pdu import DIAGNOSTICS, READ_FIFO_QUEUE
from msm.wire.pymodbus_codec import crc, lrc, rtu_size

MAX_RTU_FRAME = 256  # section 2.5.1.1
MAX_ASCII_FRAME = 513  # section 2.5.2.1

# Sizes of whole frames, with unit and CRC, of the functions that move memory; or where their byte count stands.
_REQUEST_SIZES = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 22: 10}
_REQUEST_COUNTS = {15: 6, 16: 6, 23: 10}
_REPLY_SIZES = {5: 8, 6: 8, 15: 8, 16: 8, 22: 10}
_REPLY_COUNTS = {1: 2, 2: 2, 3: 2, 4: 2, 23: 2}
_EXCEPTION_SIZE = 5
_HEXADECIMAL = frozenset(b"0123456789ABCDEFabcdef")


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
    if function == READ_FIFO_QUEUE and not request:
        # Its byte count has two bytes, and stands before the count of words (AP 6.18); pymodbus 3.16 forgets the CRC.
        return 6 + (data[2] << 8 | data[3]) if len(data) > 3 else 0
    return rtu_size(bytes(data), request=request)


class RtuFramer:
    """Puts RTU frames together. What they are is decided by their size and their CRC.

    A server sees on a shared line also the replies of other devices, and a client only replies. What is neither is
    noise: it is left out byte by byte until a frame begins. `silence()` is to be called when the line has been
    quiet for 3.5 characters: then a frame that has begun will not go on.

    :param server: does this end hear requests?
    :param most_noise: so much of it in one piece is an error: where there is no line, there is no noise on it, and to
        look for frames in what is none costs time.
    """

    def __init__(self, *, server: bool, most_noise: float = math.inf) -> None:
        self.error = ""
        self.noise = 0
        """Bytes that belonged to no frame."""
        self.heard = 0
        """Sound messages, also those that are not for this end."""
        self.errors = 0
        """Times that something came which was no message."""
        self._noisy = False
        self._server = server
        self._most_noise = most_noise
        self._noise_before = 0
        self._data = bytearray()

    @property
    def partial(self) -> bool:
        """Has a frame begun that is not yet whole?"""
        return bool(self._data)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        if self.error:
            return []
        self._data += data
        return self._take(final=False)

    def silence(self) -> list[Frame]:
        """The line is quiet: the frames in what was received, though a longer one seemed to have begun."""
        frames = self._take(final=True)
        if self._data:
            self._note_noise(len(self._data))
        self._noisy = False
        self._data.clear()
        return frames

    def _note_noise(self, size: int) -> None:
        self.noise += size
        self.errors += not self._noisy
        self._noisy = True

    def _take(self, *, final: bool) -> list[Frame]:
        frames: list[Frame] = []
        start = 0
        data = self._data
        while len(data) - start >= 2 and not self.error:
            size, frame = self._at(start, final=final)
            if size == 0:
                break
            if frame is not None:
                frames.append(frame)
            if size > 1:
                self.heard += 1
                self._noisy = False
                self._noise_before = self.noise
            else:
                self._note_noise(1)
                if self.noise - self._noise_before > self._most_noise:
                    self.error = f"no RTU frame in {self._most_noise} bytes"
                    start = len(data)
            start += size
        del data[:start]
        return frames

    def _at(self, start: int, *, final: bool) -> tuple[int, Frame | None]:
        """What begins at `start`: its size (0: wait for more) and the frame, if it is one for us.

        It is the same whether the bytes came all at once or one by one: what is decided on a beginning is never
        decided otherwise when more of it is known.
        """
        rest = bytes(self._data[start : start + MAX_RTU_FRAME])
        whole = len(self._data) - start <= MAX_RTU_FRAME
        # A server waits for another device's reply as well: what it carries might look like a request.
        kinds = (True, False) if self._server else (False,)
        sizes = [(frame_size(rest, request=request), request) for request in kinds]
        wait = False
        for size, request in sorted(sizes, key=lambda each: each[0] or 0):
            # A message of a function that nobody knows has no size: silence ends it.
            open_ended = size == 0 or (size is None and request is self._server)
            if open_ended or (size is not None and len(rest) < size <= MAX_RTU_FRAME):
                wait = wait or whole
            elif size is not None and 4 <= size <= MAX_RTU_FRAME and _is_sound(rest[:size]):
                return size, Frame(0, rest[0], rest[1 : size - 2]) if request is self._server else None
            elif request is self._server and rest[1] == DIAGNOSTICS:
                wait = wait or whole  # it may carry more than one word (AP 6.8), and silence ends it
        if not final:
            return (0, None) if wait else (1, None)
        open_ended = sizes[0][0] is None or (len(rest) > 1 and rest[1] == DIAGNOSTICS)
        if whole and len(rest) >= 4 and open_ended and _is_sound(rest):
            return len(rest), Frame(0, rest[0], rest[1:-2])
        return 1, None

    @staticmethod
    def encode(_transaction: int, unit: int, pdu: bytes) -> bytes:
        """One message as it travels."""
        body = bytes((unit,)) + pdu
        return body + crc(body)


def _is_sound(frame: bytes) -> bool:
    return crc(frame[:-2]) == frame[-2:]


class AsciiFramer:
    """Puts ASCII frames together: a colon, hexadecimal digits, an LRC, CR and LF (section 2.5.2)."""

    def __init__(self) -> None:
        self.error = ""
        self.noise = 0
        """Bytes that belonged to no frame."""
        self.heard = 0
        """Sound messages, also those that are not for this end."""
        self.errors = 0
        """Times that something came which was no message."""
        self._end = b"\r\n"
        self._data = bytearray()

    @staticmethod
    def can_end_with(delimiter: bytes) -> bool:
        """Can this character end a message? Not, if it is part of one."""
        return delimiter not in (b":", b"\r") and not _HEXADECIMAL.issuperset(delimiter)

    def end_with(self, delimiter: bytes) -> None:
        """What is to end messages after CR, in place of LF (AP 6.8, subfunction 03)."""
        self._end = b"\r" + delimiter

    @property
    def partial(self) -> bool:
        """Has a frame begun that is not yet whole?"""
        return bool(self._data)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        frames = []
        self._data += data
        while True:
            end = self._data.find(self._end)
            if end < 0:
                break
            line = bytes(self._data[:end])
            del self._data[: end + 2]
            # A colon begins a frame anew, whatever came before it.
            start = line.rfind(b":")
            frame = self._frame(line[start + 1 :]) if start >= 0 else None
            if frame is None:
                self.noise += len(line)
                self.errors += 1
            else:
                self.noise += start
                self.heard += 1
                frames.append(frame)
        self._forget_noise()
        return frames

    def silence(self) -> list[Frame]:
        """A second without a character (section 2.5.2.1): a frame that has begun will not go on."""
        self.noise += len(self._data)
        self.errors += bool(self._data)
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
        if len(digits) % 2 or not _HEXADECIMAL.issuperset(digits):
            return None
        body = bytes.fromhex(digits.decode("ascii"))
        if not 3 <= len(body) <= 255 or lrc(body[:-1]) != body[-1]:
            return None
        return Frame(0, body[0], body[1:-1])

    def encode(self, _transaction: int, unit: int, pdu: bytes) -> bytes:
        """One message as it travels."""
        body = bytes((unit,)) + pdu
        return b":" + (body + bytes((lrc(body),))).hex().upper().encode() + self._end
