"""What a unit counts of its messages, and tells by functions 08, 11 and 12.

The numbers of sections are those of the Modbus application protocol specification V1.1b3.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from msm.servant import Answer, Reply
from msm.wire import other_pdu, pymodbus_codec
from msm.wire.channel import Framer
from msm.wire.pdu import ILLEGAL_DATA_VALUE, ILLEGAL_FUNCTION, SERVER_DEVICE_FAILURE, Refusal, refusal
from msm.wire.serial_framing import AsciiFramer, RtuFramer

log = logging.getLogger("msm.server")

LOGGED = 64  # events
WORD = 65536  # where the counters begin anew

# The events of section 6.10.
RECEIVED = 0x80
SENT = 0x40
COMM_ERROR = 0x02
LISTENING_ONLY = 0x20
BROADCAST = 0x40
ENTERED_LISTEN_ONLY = 0x04
RESTARTED = 0x00
_EXCEPTION_EVENTS = {1: 0x01, 2: 0x01, 3: 0x01, 4: 0x02, 5: 0x04, 6: 0x04, 7: 0x08}

_NEGATIVE_ACKNOWLEDGE, _BUSY = 7, 6
_ZERO = b"\0\0"

Bus = Callable[[], tuple[int, int] | None]


class Diagnostics:
    """The counters of one unit, its log of events, and its listen only mode.

    :param bus: gives the sound messages on the line and the broken ones since the server was started; None where
        there is no line, and the unit's own messages are all that there are.
    :param register: gives the diagnostic register of function 08/02.
    """

    def __init__(self, bus: Bus, register: Callable[[], int] | None = None) -> None:
        self._bus = bus
        self._counters: dict[int, Callable[[], int]] = {
            0x0B: lambda: self._messages,
            0x0C: lambda: (self._bus() or (0, 0))[1] - self._before[1],
            0x0D: lambda: self._exceptions,
            0x0E: lambda: self._received,
            0x0F: lambda: self._unanswered,
            0x10: lambda: self._refused,
            0x11: lambda: self._busy,
        }
        if register is not None:
            self._counters[0x02] = register
        self._verbs: dict[int, Callable[[bytes, Framer | None], bool]] = {
            0x00: self._echo,
            0x01: self._restart,
            0x03: self._change_delimiter,
            0x04: self._listen_only,
            0x0A: self._clear_counters,
        }
        self._listening_only = False
        self._log: deque[int] = deque(maxlen=LOGGED)
        self._errors_noted = 0
        self._before = (0, 0)
        self._clear()

    def _clear(self) -> None:
        self._before = self._bus() or (0, 0)
        self._errors_noted = self._before[1]
        self._received = self._events = self._exceptions = self._unanswered = self._refused = self._busy = 0

    def attend(
        self, request: bytes, answer: Callable[[bytes], Reply], framer: Framer | None, *, broadcast: bool = False
    ) -> Reply | None:
        """Have a request answered, and count what becomes of it."""
        self._note_received(broadcast)
        restart = request[:3] == b"\x08\x00\x01"
        if self._listening_only and not restart:
            self._unanswered += 1
            return None
        was_listening = self._listening_only
        serial = isinstance(framer, RtuFramer | AsciiFramer)
        if request[0] == other_pdu.DIAGNOSTICS and serial:
            reply: Reply | None = self._diagnose(request, framer)
        else:
            reply = answer(request)
        if broadcast or reply is None or was_listening:
            self._unanswered += not was_listening
            self._exceptions += broadcast and isinstance(reply, bytes) and reply[0] & 0x80 != 0
            return None
        if restart and not reply_is_refusal(reply):
            return reply  # section 6.8: answered before it starts anew, so it counts for what was before
        if isinstance(reply, bytes):
            self._note_sent(request, reply)
        else:
            reply.add_done_callback(lambda done: None if done.cancelled() else self._note_sent(request, done.result()))
        return reply

    def ignored(self) -> None:
        """A broadcast that asks for an answer, which nobody gives."""
        self._note_received(True)
        self._unanswered += 1

    def _note_received(self, broadcast: bool) -> None:
        self._received += 1
        event = RECEIVED | BROADCAST * broadcast | LISTENING_ONLY * self._listening_only
        bus = self._bus()
        if bus is not None and bus[1] != self._errors_noted:
            event |= COMM_ERROR
            self._errors_noted = bus[1]
        self._log.appendleft(event)

    def _note_sent(self, request: bytes, reply: bytes) -> None:
        event = SENT | LISTENING_ONLY * self._listening_only
        if reply[0] & 0x80:
            self._exceptions += 1
            self._refused += reply[1] == _NEGATIVE_ACKNOWLEDGE
            self._busy += reply[1] == _BUSY
            event |= _EXCEPTION_EVENTS.get(reply[1], 0)
        elif request[0] != other_pdu.GET_COMM_EVENT_COUNTER:  # asking for it does not change it (section 6.9)
            self._events += 1
        self._log.appendleft(event)

    @property
    def _messages(self) -> int:
        bus = self._bus()
        return self._received if bus is None else bus[0] - self._before[0]

    # -- functions 11 and 12

    def answers(self) -> dict[int, Answer]:
        """Who answers these two; function 08 is answered on serial lines only, by `attend()`."""
        return {
            other_pdu.GET_COMM_EVENT_COUNTER: self.event_counter,
            other_pdu.GET_COMM_EVENT_LOG: self.event_log,
        }

    def event_counter(self, request: bytes) -> bytes:
        """Function 11."""
        other_pdu.parse_bare(request)
        return pymodbus_codec.event_counter_reply(self._events % WORD)

    def event_log(self, request: bytes) -> bytes:
        """Function 12."""
        other_pdu.parse_bare(request)
        return pymodbus_codec.event_log_reply(self._events % WORD, self._messages % WORD, bytes(self._log))

    # -- function 08

    def _diagnose(self, request: bytes, framer: Framer | None) -> bytes | None:
        try:
            subfunction, data = other_pdu.parse_diagnostic(request)
            if subfunction in self._counters:
                _expect(data, _ZERO)
                return _told(subfunction, self._counters[subfunction]() % WORD)
            # Overrun characters (12, 14) are seen by the driver of the port, and by nobody else.
            verb = self._verbs.get(subfunction)
            if verb is None:
                raise Refusal(ILLEGAL_FUNCTION)
            return request if verb(data, framer) else None
        except Refusal as refused:
            return refusal(request[0], refused.code)
        except Exception:
            log.exception("request %s failed", request.hex(" "))
            return refusal(request[0], SERVER_DEVICE_FAILURE)

    def _echo(self, _data: bytes, _framer: Framer | None) -> bool:
        return True

    def _restart(self, data: bytes, _framer: Framer | None) -> bool:
        _expect(data, _ZERO, b"\xff\x00")
        self._clear()
        if data != _ZERO:
            self._log.clear()
        self._log.appendleft(RESTARTED)
        self._listening_only = False
        return True

    def _change_delimiter(self, data: bytes, framer: Framer | None) -> bool:
        if not isinstance(framer, AsciiFramer):
            raise Refusal(ILLEGAL_FUNCTION)
        if len(data) != 2 or data[1] or not framer.can_end_with(data[:1]):
            raise Refusal(ILLEGAL_DATA_VALUE)
        # From the next message on (section 6.8): this reply still ends as its request did.
        asyncio.get_running_loop().call_soon(framer.end_with, data[:1])
        return True

    def _listen_only(self, data: bytes, _framer: Framer | None) -> bool:
        _expect(data, _ZERO)
        self._listening_only = True
        self._log.appendleft(ENTERED_LISTEN_ONLY)
        return False

    def _clear_counters(self, data: bytes, _framer: Framer | None) -> bool:
        _expect(data, _ZERO)
        self._clear()
        return True


def reply_is_refusal(reply: Reply) -> bool:
    """Is it an exception reply?"""
    return isinstance(reply, bytes) and reply[0] & 0x80 != 0


def _expect(data: bytes, *allowed: bytes) -> None:
    if data not in allowed:
        raise Refusal(ILLEGAL_DATA_VALUE)


def _told(subfunction: int, word: int) -> bytes:
    return pymodbus_codec.diagnostic(subfunction, word.to_bytes(2, "big"))
