"""Serial lines without hardware: pseudo terminals, and frames built here without any of the code under test."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import until


def crc(data: bytes) -> bytes:
    """CRC-16 of serial line V1.02, section 6.2.2, bit by bit."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


def rtu(pdu: bytes, unit: int = 1) -> bytes:
    body = bytes((unit,)) + pdu
    return body + crc(body)


def ascii_frame(pdu: bytes, unit: int = 1) -> bytes:
    body = bytes((unit,)) + pdu
    return b":" + (body + bytes((-sum(body) & 0xFF,))).hex().upper().encode() + b"\r\n"


ENCODERS: dict[str, Callable[[bytes, int], bytes]] = {"rtu": rtu, "ascii": ascii_frame}


class Pty:
    """A serial port at `path`; the test has the other end of its line.

    `path` is a symbolic link: what is plugged in again is another device under the same name, as udev does it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.master = -1
        self._slave = -1
        self.plug_in()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unplug()

    def plug_in(self) -> None:
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)  # until somebody opens it nothing is echoed
        os.set_blocking(self.master, False)
        self.path.symlink_to(os.ttyname(self._slave))

    def unplug(self) -> None:
        if self.master >= 0:
            self.path.unlink()
            os.close(self._slave)
            os.close(self.master)
            self.master = self._slave = -1

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.master, data) :]

    def heard(self) -> bytes:
        """What has come since the last time."""
        try:
            return os.read(self.master, 65536)
        except BlockingIOError:
            return b""

    async def hears(self, count: int, timeout: float = 10.0) -> bytes:
        """So many bytes that come."""
        data = bytearray()

        def enough() -> bool:
            data.extend(self.heard())
            return len(data) >= count

        await until(enough, timeout, f"{count} bytes")
        return bytes(data)

    async def hears_nothing(self, while_: Callable[[], object] | None = None, seconds: float = 0.15) -> None:
        """Silence for some time."""
        data = bytearray()

        def anything() -> bool:
            data.extend(self.heard())
            return bool(data)

        with suppress(AssertionError):
            await until(anything, seconds)
        assert not data, f"said {data.hex(' ')}"

    async def send_torn(self, data: bytes) -> None:
        """Byte by byte, each by itself."""
        for byte in data:
            self.send(bytes((byte,)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)


class Cable:
    """Two serial ports joined by a line."""

    def __init__(self, folder: Path, one: str = "one", other: str = "other") -> None:
        self.ends = (Pty(folder / one), Pty(folder / other))
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="cable", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        for end in self.ends:
            end.unplug()

    def _carry(self) -> None:
        one, other = (end.master for end in self.ends)
        while True:
            ready, _, _ = select.select([one, other, self._stop], [], [])
            if self._stop in ready:
                return
            for source, target in ((one, other), (other, one)):
                if source in ready:
                    data = os.read(source, 65536)
                    while data:
                        try:
                            data = data[os.write(target, data) :]
                        except BlockingIOError:
                            break  # nobody reads there: lost, as on a line
