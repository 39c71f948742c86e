"""The server of a fake device: what it answers, and what happens to the answers."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from msm.peer import Peer
from msm.servant import Reply
from msm.server import BROADCAST, AsyncModbusServer
from msm.testing.faults import Fault
from msm.wire import pdu
from msm.wire.framing import MbapFramer

if TYPE_CHECKING:
    from msm.testing.device import FakeDevice

log = logging.getLogger("msm.testing")

WRITING = (*pdu.WRITES, pdu.READ_WRITE_MULTIPLE_REGISTERS)


class _Marked(bytes):
    """A reply to which something is to happen when it is sent."""

    fault: Fault | None = None


class FaultyPeer(Peer):
    """Sends replies as they are marked."""

    def _encode(self, transaction: int, unit: int, reply: bytes) -> bytes:
        fault = getattr(reply, "fault", None)
        if fault is None:
            return super()._encode(transaction, unit, reply)
        if fault.kind == "wrong" and fault.wrong == "unit":
            unit = unit % 247 + 1
        elif fault.kind == "wrong" and fault.wrong == "transaction" and isinstance(self.framer, MbapFramer):
            transaction = (transaction + 7) % 65536
        data = super()._encode(transaction, unit, bytes(reply))
        if fault.kind == "doubled":
            return data + data
        if fault.kind == "cut":
            asyncio.get_running_loop().call_soon(self.close)
            return data[: fault.size]
        return data


class FaultyServer(AsyncModbusServer):
    """Answers for a device."""

    _peer_type = FaultyPeer

    def __init__(self, device: FakeDevice, endpoint: str, keywords: dict[str, Any]) -> None:
        super().__init__(device.mem, endpoint, **keywords)
        self.express = None  # it has a say in every request
        self._device = device

    def answer(self, unit: int, request: bytes, peer: Peer, *, busy: bool = False) -> Reply | None:
        device = self._device
        if busy:
            return super().answer(unit, request, peer, busy=True)
        if peer.is_line and unit not in self._units:
            if unit == BROADCAST:
                self._obey(request)
            return None  # others answer for their units, and nobody a broadcast
        fault = device._fault(request)
        if fault is not None and fault.kind in ("ignored", "refused"):
            refusal = pdu.refusal(request[0], fault.code) if fault.kind == "refused" else None
            device._note(unit, request, refusal, fault)
            return refusal
        try:
            reply = self._proper(unit, request, peer)
        except Exception as error:  # of what the device was told to do
            log.exception("the behaviour of a device has raised")
            device.trouble.append(error)
            reply = pdu.refusal(request[0], pdu.SERVER_DEVICE_FAILURE)
        if isinstance(reply, asyncio.Future) or (fault is not None and fault.kind == "late"):
            return asyncio.ensure_future(self._answer_later(unit, request, reply, fault))
        return self._finish(unit, request, reply, fault)

    async def _answer_later(self, unit: int, request: bytes, reply: Reply | None, fault: Fault | None) -> bytes:
        """The application answers when it likes, or the reply is to be late."""
        proper = await reply if isinstance(reply, asyncio.Future) else reply
        sent = self._finish(unit, request, proper, fault)
        if fault is not None and fault.kind == "late":
            await asyncio.sleep(fault.seconds)
        if sent is None:
            raise asyncio.CancelledError  # lost: nothing is sent in its place
        return sent

    def _finish(self, unit: int, request: bytes, reply: bytes | None, fault: Fault | None) -> bytes | None:
        device = self._device
        if reply is not None:
            device._performed(request, reply)
        sent = None if fault is not None and fault.kind == "lost" else _spoilt(request, reply, fault)
        device._note(unit, request, sent, fault)
        return sent

    def _obey(self, request: bytes) -> None:
        """A broadcast: done, and not answered."""
        if request[0] in pdu.WRITES:
            for servant in self._units.values():
                reply = servant.answer(request)
                if isinstance(reply, bytes):
                    self._device._performed(request, reply)
        self._device._note(BROADCAST, request, None, None)

    def _proper(self, unit: int, request: bytes, peer: Peer) -> Reply | None:
        device = self._device
        if device._replays:
            replayed = device._replayed(unit, request)
            if replayed is not None and not replayed[0] & 0x80 and request[0] in WRITING:
                super().answer(unit, request, peer)  # done in the memory, too, for who asks by name
            return replayed
        refusal = device._before(request)
        return refusal if refusal is not None else super().answer(unit, request, peer)


def _spoilt(request: bytes, reply: bytes | None, fault: Fault | None) -> bytes | None:
    """A reply to which this fault has happened, or will when it is sent."""
    if reply is None or fault is None:
        return reply
    if fault.kind == "wrong":
        if fault.wrong == "function":
            reply = bytes((request[0] % 4 + 1,)) + reply[1:]
        elif fault.wrong == "short":
            reply = reply[:-1] or b"\0"
        elif fault.wrong == "long":
            reply += b"\0"
        elif fault.wrong == "echo" and len(reply) > 2:
            reply = reply[:-1] + bytes((reply[-1] ^ 1,))
    marked = _Marked(reply)
    marked.fault = fault
    return marked
